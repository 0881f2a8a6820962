"""Zero-shot classification: images matched against label texts (Radford et al. 2021, section 3.1)."""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from clip_core.backends import load_backend
from clip_core.configuration.arguments import several
from clip_core.hub import split_hub_options
from clip_core.hub.printing import shortened
from clip_core.processing import CLIPProcessor
from clip_core.processing.frameworks import default_backend
from clip_core.tasks.images import check_several_images, encode_image_batches, encode_images
from clip_core.tasks.labels import LabelCache, label_key
from clip_core.tasks.texts import BATCH_SIZE, TextTooLongError, encode_text_batches, encode_texts, token_batches

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence

    from clip_core.backends import Encoder

# Encoding this many texts takes longer than computing a model's fingerprint.
_WORTH_KEEPING = 64
# Preparing ViT-B/32 takes 0.3 s on two cores, and saves 0.01 s for each image.
_WORTH_PREPARING = 64


class ZeroShotClassifier:
    """A CLIP model of any framework that classifies images by label texts.

    Args:
        encoder: the model.
        processor: the model's tokenizer and image processor.
        label_cache: a folder that caches the embeddings of large label sets across runs; None for memory only.

    Example:
        >>> classifier = ZeroShotClassifier.from_pretrained("openai/clip-vit-base-patch32")  # doctest: +SKIP
        >>> classifier(["cat.jpg"], ["a cat", "a dog"], templates=["a photo of {}"])  # doctest: +SKIP
        array([[0.99, 0.01]], dtype=float32)
    """

    def __init__(
        self, encoder: Encoder, processor: CLIPProcessor, *, label_cache: str | os.PathLike[str] | None = None
    ) -> None:
        self.encoder = encoder
        self.processor = processor
        self.label_cache = LabelCache(label_cache)

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        backend: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        label_cache: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> Self:
        """Load a model and its processor.

        Args:
            source: a local folder or a hub id.
            backend: the framework, by its name in `clip_core.backends.backend_names()`; None for the default one.
            device: the device, as the framework names it; by default the best available.
            dtype: dtype of the weights, such as "float16"; by default float32.
            label_cache: as in the class.
            **options: hub options; see `clip_core.hub.HubOptions`.

        Returns:
            The classifier.

        Raises:
            FileNotFoundError: if there is no such model.
            ValueError: if the backend is unknown, or the checkpoint does not fit.
        """
        LabelCache(label_cache)  # refuses a folder that cannot be written, before the model is loaded
        hub = split_hub_options(options)
        processor = CLIPProcessor.from_pretrained(source, **hub)
        encoder = load_backend(backend or default_backend()).load(source, device=device, dtype=dtype, **hub, **options)
        return cls(encoder, processor, label_cache=label_cache)

    def prepared(self, count: int | None = None) -> Self:
        """Return a classifier for many inputs, with the same results up to rounding.

        In PyTorch on a CPU, its model shares the weights of this one and also holds them in the layout of the kernels.
        It takes a fifth less time for a batch and two fifths less for one input, and about twice the memory for the
        weights. In other frameworks, and if the model cannot be prepared, this is the same classifier.

        Args:
            count: the number of images to encode, if known; for a few, preparing the model takes longer than it saves.
        """
        # Optional for plug-in encoders. One that passes all calls on to another must not be replaced by that one.
        encoder: Any = self.encoder
        is_lacking = inspect.getattr_static(encoder, "prepared", None) is None
        if is_lacking or (count is not None and count < _WORTH_PREPARING):
            return self
        other = copy.copy(self)
        other.encoder = encoder.prepared()
        return other

    def embed_labels(
        self, labels: Sequence[str], templates: str | Sequence[str] = ("{}",), *, batch_size: int = BATCH_SIZE
    ) -> np.ndarray:
        """Encode labels.

        The embeddings of several templates are averaged, and the mean is normalized (section 3.1.4 of the paper). Equal
        labels are encoded once. Large label sets are cached; a change of the weights or tokens invalidates the cache.

        Args:
            labels: the label names.
            templates: one or several texts with a `{}` for the label.
            batch_size: texts to encode at a time.

        Returns:
            `(labels, projection)`, float32, of unit norm.

        Raises:
            ValueError: if there are no labels, a template lacks a `{}`, or a text is too long for the model.
            TypeError: if `labels` is a single text.
        """
        templates = check_templates(templates)
        labels = several("labels", labels)
        distinct = {label: place for place, label in enumerate(dict.fromkeys(labels))}
        if not distinct:
            raise ValueError("there are no labels; give at least one")
        try:
            embeds = self._label_embeds(list(distinct), templates, batch_size)
        except TextTooLongError as error:
            has_words = any(template.strip() != "{}" for template in templates)
            raise error.advising(f"shorten the label{' or its template' * has_words}") from None
        return embeds[[distinct[label] for label in labels]]

    def encode_texts(
        self, texts: Iterable[str], *, batch_size: int = BATCH_SIZE, truncation: bool = False
    ) -> np.ndarray:
        """Encode texts. Takes the arguments of `clip_core.tasks.encode_texts` and returns the same."""
        return encode_texts(self.encoder, self.processor, texts, batch_size=batch_size, truncation=truncation)

    def encode_images(
        self,
        images: Iterable[Any],
        *,
        batch_size: int = 32,
        num_threads: int | None = None,
        on_error: Callable[[int, ValueError], object] | None = None,
    ) -> np.ndarray:
        """Encode images. Takes the arguments of `clip_core.tasks.encode_images` and returns the same."""
        return encode_images(
            self.encoder, self.processor, images, batch_size=batch_size, num_threads=num_threads, on_error=on_error
        )

    def classify(self, images: Sequence[Any], label_embeds: np.ndarray) -> np.ndarray:
        """Return the probability of each label for each image: `(images, labels)`, float32, rows summing to 1.

        Args:
            images: images in any form that the image processor accepts, run as one batch.
            label_embeds: a return value of `embed_labels`.

        Raises:
            TypeError: if `images` is a single image.
        """
        check_several_images(images)
        images = list(images)
        image_embeds = self.encode_images(images, batch_size=max(1, len(images)))
        return softmax(self.encoder.logits_per_image(image_embeds, label_embeds))

    def __call__(
        self,
        images: Iterable[Any],
        labels: Sequence[str],
        *,
        templates: str | Sequence[str] = ("{}",),
        batch_size: int = 32,
    ) -> np.ndarray:
        """Return the probability of each label for each image: `(images, labels)`, float32.

        Args:
            images: images in any form that the image processor accepts; a generator is consumed lazily.
            labels: the label names to choose from.
            templates: one or several texts with a `{}` for the label.
            batch_size: images to encode at a time.
        """
        label_embeds = self.embed_labels(labels, templates)
        batches = encode_image_batches(self.encoder, self.processor, images, batch_size=batch_size)
        rows = [softmax(self.encoder.logits_per_image(batch.embeds, label_embeds)) for batch in batches]
        return np.concatenate(rows) if rows else np.empty((0, len(labels)), np.float32)

    def _label_embeds(self, labels: list[str], templates: Sequence[str], batch_size: int) -> np.ndarray:
        def compute() -> np.ndarray:
            texts = (fill(template, label) for label in labels for template in templates)
            batches = encode_text_batches(self.encoder, self.processor, texts, batch_size=batch_size)
            return _means(batches, len(labels), len(templates))

        # Optional for plug-in encoders; without it nothing is cached.
        fingerprint = getattr(self.encoder, "text_fingerprint", None)
        if fingerprint is None or len(labels) * len(templates) < _WORTH_KEEPING:
            return compute()
        texts = (fill(template, label) for label in labels for template in templates)
        key = label_key(fingerprint(), token_batches(self.processor, texts), len(templates))
        return self.label_cache.get(key, len(labels), compute)


def _means(batches: Iterable[np.ndarray], labels: int, templates: int) -> np.ndarray:
    """Average and normalize the embeddings of each label's texts: `(labels, projection)`, float32.

    Args:
        batches: embeddings of all texts, label by label; only one batch is in memory at a time.
        labels: number of labels.
        templates: number of texts per label.
    """
    if templates == 1:
        return np.concatenate(list(batches))
    sums, start = np.zeros((labels, 0)), 0
    for embeds in batches:
        if start == 0:
            sums = np.zeros((labels, embeds.shape[-1]))
        np.add.at(sums, np.arange(start, start + len(embeds)) // templates, embeds)
        start += len(embeds)
    means: np.ndarray = sums / np.linalg.norm(sums, axis=-1, keepdims=True)
    return means.astype(np.float32)


def check_templates(templates: str | Sequence[str]) -> Sequence[str]:
    """Return the templates as a list, after checking that each has exactly one `{}`.

    Args:
        templates: one or several texts with a `{}` for the label.

    Raises:
        ValueError: if there are no templates, or one does not have exactly one `{}`.
    """
    templates = [templates] if isinstance(templates, str) else list(templates)
    if not templates:
        raise ValueError("templates is empty; give '{}' to use the label itself")
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(f"the template {shortened(repr(template))} must contain exactly one {{}} for the label")
    return templates


def fill(template: str, label: str) -> str:
    """Return the template with the label filled in; other braces are kept.

    Args:
        template: a text with a `{}`.
        label: the label.
    """
    return template.replace("{}", label)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities over the last axis, float32.

    Args:
        logits: any shape.
    """
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: np.ndarray = shifted / shifted.sum(axis=-1, keepdims=True)
    return probabilities
