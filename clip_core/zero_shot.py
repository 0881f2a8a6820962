"""Zero-shot classification: pictures named by comparing them with the names (Radford et al. 2021, section 3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from clip_core.backends import load_backend
from clip_core.hub import split_hub_options
from clip_core.processing import CLIPProcessor

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from clip_core.backends import Encoder


class ZeroShotClassifier:
    """A CLIP that names pictures, in whatever framework its encoder runs.

    Args:
        encoder: the model.
        processor: the tokenizer and image processor that belong to it.

    Example:
        >>> classifier = ZeroShotClassifier.from_pretrained("openai/clip-vit-base-patch32")  # doctest: +SKIP
        >>> classifier(["cat.jpg"], ["a cat", "a dog"], templates=["a photo of {}"])  # doctest: +SKIP
        array([[0.99, 0.01]], dtype=float32)
    """

    def __init__(self, encoder: Encoder, processor: CLIPProcessor) -> None:
        self.encoder = encoder
        self.processor = processor

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        backend: str = "torch",
        device: str | None = None,
        dtype: str | None = None,
        **options: Any,
    ) -> Self:
        """Load a model and its processor.

        Args:
            source: a local folder or a hub id.
            backend: the framework, by its name in `clip_core.backends.backend_names()`.
            device: where to run, as the framework names it; by default its best device.
            dtype: of the weights, such as "float16"; by default float32.
            **options: where on the hub; see `clip_core.hub.HubOptions`.

        Raises:
            FileNotFoundError: there is no such model.
            ValueError: the backend is unknown, or the checkpoint does not fit.
        """
        hub = split_hub_options(options)
        processor = CLIPProcessor.from_pretrained(source, **hub)
        encoder = load_backend(backend)(source, device=device, dtype=dtype, **hub, **options)
        return cls(encoder, processor)

    def embed_labels(
        self, labels: Sequence[str], templates: Sequence[str] = ("{}",), *, batch_size: int = 256
    ) -> np.ndarray:
        """One embedding of unit norm for each label: `(labels, projection)`, float32.

        With several templates it is the mean of their embeddings, normalised again (section 3.1.4 of the paper).

        Args:
            labels: the names.
            templates: texts with a `{}` where the label goes.
            batch_size: texts that are encoded at a time.

        Raises:
            ValueError: there is no label, or a template has no place for one.
        """
        texts = [fill(template, label) for label in labels for template in check_templates(templates)]
        if not texts:
            raise ValueError("there are no labels; give at least one")
        batches = [texts[start : start + batch_size] for start in range(0, len(texts), batch_size)]
        embeds = np.concatenate([self._encode_texts(batch) for batch in batches])
        if len(templates) == 1:
            return embeds
        means = embeds.reshape(len(labels), len(templates), -1).mean(axis=1)  # (labels, projection)
        normalised: np.ndarray = means / np.linalg.norm(means, axis=-1, keepdims=True)
        return normalised

    def classify(self, images: Sequence[Any], label_embeds: np.ndarray) -> np.ndarray:
        """The probability of each label for each picture: `(images, labels)`, float32, rows of sum 1.

        Args:
            images: pictures, in any form that the image processor takes.
            label_embeds: what `embed_labels` returned.
        """
        pixel_values = self.processor(images=list(images), return_tensors="np")["pixel_values"]
        return softmax(self.encoder.logits_per_image(self.encoder.encode_images(pixel_values), label_embeds))

    def __call__(
        self,
        images: Sequence[Any],
        labels: Sequence[str],
        *,
        templates: Sequence[str] = ("{}",),
        batch_size: int = 32,
    ) -> np.ndarray:
        """The probability of each label for each picture: `(images, labels)`, float32.

        Args:
            images: pictures, in any form that the image processor takes.
            labels: the names to choose from.
            templates: texts with a `{}` where the label goes.
            batch_size: pictures that are encoded at a time.
        """
        label_embeds = self.embed_labels(labels, templates)
        batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
        rows = [self.classify(batch, label_embeds) for batch in batches]
        return np.concatenate(rows) if rows else np.empty((0, len(labels)), np.float32)

    def _encode_texts(self, texts: list[str]) -> np.ndarray:
        batch = self.processor(text=texts, padding=True, return_tensors="np")
        return self.encoder.encode_texts(batch["input_ids"], batch["attention_mask"])


def check_templates(templates: Sequence[str]) -> Sequence[str]:
    """The templates, each with exactly one place for the label.

    Raises:
        ValueError: there is none, or one of them has no `{}`, or several.
    """
    if not templates:
        raise ValueError("there are no templates; '{}' stands for the label itself")
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(f"the template {template!r} needs one {{}}, where the label goes")
    return templates


def fill(template: str, label: str) -> str:
    """The template with the label in its place; other braces stay as they are."""
    return template.replace("{}", label)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis, float32."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: np.ndarray = shifted / shifted.sum(axis=-1, keepdims=True)
    return probabilities
