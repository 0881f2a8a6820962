"""Explanations of the logits of an image with texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import Image

from clip_core.backends import load_backend
from clip_core.configuration.arguments import several
from clip_core.hub import split_hub_options
from clip_core.hub.printing import counted
from clip_core.modeling.trimming import pooled_positions
from clip_core.processing import CLIPProcessor
from clip_core.processing.frameworks import default_backend
from clip_core.tasks.explain import relevance
from clip_core.tasks.texts import check_finite, tokenize_texts

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from clip_core.tasks.explain.gradients import ExplainableEncoder

# The first layer by default in towers of twelve layers and more, counted from the end: the last one in Chefer et al.'s
# notebook for CLIP, the last two of the vision tower in LeGrad's code. The papers read all layers, and so do shorter
# towers: see "The start layer" in docs/explaining.md.
FIRST_LAYERS = {"chefer": -1, "legrad": -2}
METHODS = tuple(FIRST_LAYERS)
_DEEP = 12

_TEXTS_AT_ONCE = 8  # the attention of each is in memory


@dataclass(frozen=True)
class Word:
    """A word of a text.

    Attributes:
        text: the word.
        share: its share of the relevance of all words in the text.
    """

    text: str
    share: float


@dataclass(frozen=True, eq=False)
class Explanation:
    """The explanation of the logit of an image with a text.

    Attributes:
        text: the text.
        logit: the logit, which is the similarity times the model's temperature.
        heatmap: the relevance of each patch, from 0 to 1: `(rows, columns)`, float64.
        words: the words of the text with their relevance, by `chefer` for any method.
    """

    text: str
    logit: float
    heatmap: np.ndarray
    words: list[Word]


@dataclass(frozen=True, eq=False)
class ExplainedImage:
    """An image and its explanations.

    Attributes:
        image: the image as the model sees it: resized and cropped, but not normalized.
        patch_size: the pixels of a patch's side.
        explanations: one for each text.
    """

    image: Image.Image
    patch_size: int
    explanations: list[Explanation]

    def pixel_map(self, explanation: Explanation) -> np.ndarray:
        """Return a heatmap in the size of the image, `(height, width)`, enlarged bilinearly.

        Args:
            explanation: one of the explanations.
        """
        found: np.ndarray = relevance.upsampled(explanation.heatmap[None], self.patch_size)[0]
        return found


class Explainer:
    """A CLIP model of any framework that explains its logits.

    Args:
        encoder: the model.
        processor: the model's tokenizer and image processor.

    Example:
        >>> explainer = Explainer.from_pretrained("openai/clip-vit-base-patch32")  # doctest: +SKIP
        >>> explained = explainer("cat-and-dog.jpg", ["a cat", "a dog"], method="legrad")  # doctest: +SKIP
        >>> explained.explanations[0].heatmap.shape  # doctest: +SKIP
        (7, 7)
    """

    def __init__(self, encoder: ExplainableEncoder, processor: CLIPProcessor) -> None:
        if not hasattr(encoder, "logit_gradients"):
            raise ValueError(
                f"encoder is a {type(encoder).__name__}, which returns no gradients by attention; use an encoder "
                "with the methods of clip_core.tasks.explain.ExplainableEncoder"
            )
        self.encoder = encoder
        self.processor = processor

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        backend: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        **options: Any,
    ) -> Self:
        """Load a model and its processor. Takes the arguments of `ZeroShotClassifier.from_pretrained`.

        Args:
            source: a local folder or a hub id.
            backend: the framework; None for the default one.
            device: the device, as the framework names it; by default the best available.
            dtype: dtype of the weights, such as "float16"; by default float32.
            **options: hub options; see `clip_core.hub.HubOptions`.

        Returns:
            The explainer.

        Raises:
            FileNotFoundError: if there is no such model.
            ValueError: if the backend is unknown or returns no gradients, or the checkpoint does not fit.
        """
        hub = split_hub_options(options)
        processor = CLIPProcessor.from_pretrained(source, **hub)
        encoder: Any = load_backend(backend or default_backend()).load(
            source, device=device, dtype=dtype, **hub, **options
        )
        return cls(encoder, processor)

    def __call__(
        self,
        image: Any,
        texts: Sequence[str],
        *,
        method: str = "chefer",
        start_layer: int | None = None,
        start_layer_text: int | None = None,
    ) -> ExplainedImage:
        """Explain the logit of an image with each text.

        Args:
            image: an image in any form that the image processor accepts.
            texts: the texts.
            method: "chefer" or "legrad".
            start_layer: the first layer of the vision tower that the method reads; negative numbers count from the
                end. By default -1 for `chefer` and -2 for `legrad`, as the authors choose for towers of twelve layers
                and more, and 0, all layers, for shorter ones.
            start_layer_text: the same for the text tower, which `chefer` explains with either method.

        Returns:
            The image as the model sees it, and an explanation for each text.

        Raises:
            ValueError: if there are no texts or several images, the method is unknown, or there is no such layer; or if
                the image cannot be read, a text is too long for the model, or an embedding is not finite.
            TypeError: if `texts` is a single text.
        """
        texts = several("texts", texts)
        if not texts:
            raise ValueError("texts is empty; give at least one text")
        if method not in METHODS:
            raise ValueError(f"method={method!r} is unknown; give one of {', '.join(METHODS)}")
        config = self.encoder.config
        vision, text = config.vision_config.num_hidden_layers, config.text_config.num_hidden_layers
        first = {
            "first_image_layer": _first_layer("start_layer", start_layer, method, vision),
            "first_text_layer": _first_layer("start_layer_text", start_layer_text, "chefer", text),
        }
        pixels = self.processor(images=[image], return_tensors="np")["pixel_values"]
        if len(pixels) != 1:
            raise ValueError(
                f"image is a batch of {len(pixels)}; give one image, and explain the others in further calls"
            )
        ids, mask = tokenize_texts(self.processor, texts)
        text_embeds, image_embeds = self.encoder.encode_texts(ids, mask), self.encoder.encode_images(pixels)
        check_finite(text_embeds, texts)
        check_finite(image_embeds, ["the image"])
        logits = self.encoder.logits_per_image(image_embeds, text_embeds)[0]
        explanations = []
        for begin in range(0, len(texts), _TEXTS_AT_ONCE):
            part = slice(begin, begin + _TEXTS_AT_ONCE)
            found = self.encoder.logit_gradients(pixels, ids[part], mask[part], **first)
            if method == "chefer":
                of_patches = relevance.chefer(found.image)[:, 0]
            else:
                layers = self.encoder.layer_gradients(pixels, text_embeds[part], first_layer=first["first_image_layer"])
                of_patches = relevance.legrad(layers)
            eos = pooled_positions(ids[part], config.text_config)
            of_tokens = relevance.chefer(found.text)[np.arange(len(eos)), eos]
            rows = zip(texts[part], logits[part], relevance.image_maps(of_patches), strict=True)
            explanations += [
                Explanation(text, float(logit), heatmap, self._words(ids[begin + row], int(eos[row]), of_tokens[row]))
                for row, (text, logit, heatmap) in enumerate(rows)
            ]
        return ExplainedImage(self._seen(image), config.vision_config.patch_size, explanations)

    def _words(self, ids: np.ndarray, eos: int, of_tokens: np.ndarray) -> list[Word]:
        """Return the words before the pooled token, with the summed relevance of their tokens."""
        tokenizer = self.processor.tokenizer
        special = set(tokenizer.all_special_ids)
        words: list[tuple[list[int], float]] = []
        ended = True
        for token, amount in zip(ids[:eos].tolist(), of_tokens[:eos].tolist(), strict=True):
            if token in special:
                ended = True
                continue
            if ended:
                words.append(([], 0.0))
            words[-1] = ([*words[-1][0], token], words[-1][1] + amount)
            ended = tokenizer.convert_ids_to_tokens(token).endswith("</w>")
        shares = relevance.shares(np.array([amount for _, amount in words]))
        named = (tokenizer.decode(tokens).strip() for tokens, _ in words)
        return [Word(text, float(share)) for text, share in zip(named, shares, strict=True)]

    def _seen(self, image: Any) -> Image.Image:
        """Return an image after all steps of the processor but rescaling and normalization."""
        pixels = self.processor.image_processor(
            images=[image], do_rescale=False, do_normalize=False, return_tensors="np"
        )["pixel_values"][0]
        return Image.fromarray(np.clip(pixels.transpose(1, 2, 0), 0, 255).astype(np.uint8))


def _first_layer(name: str, layer: int | None, method: str, count: int) -> int:
    """Return the number of a tower's first layer that a method reads, counted from 0; None gives the default."""
    if layer is None:
        layer = FIRST_LAYERS[method] if count >= _DEEP else 0
    if not -count <= layer < count:
        raise ValueError(
            f"{name}={layer} is outside the tower of {counted(count, 'layer')}; give {-count} to {count - 1}"
        )
    return layer % count
