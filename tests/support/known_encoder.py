"""A model with chosen embeddings, behind a real processor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clip_core.tasks.zero_shot import ZeroShotClassifier
from support.training_data import LENGTH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clip_core.processing import CLIPProcessor


class KnownEncoder:
    """An `Encoder` whose embeddings depend on an image's red, at its centre, or a text's tokens.

    Args:
        processor: the processor of images and texts.
        images: embeddings by red, from 0 to 255.
        texts: embeddings by text.
    """

    def __init__(
        self, processor: CLIPProcessor, images: Mapping[int, Sequence[float]], texts: Mapping[str, Sequence[float]]
    ) -> None:
        self._processor = processor
        self._images = images
        self._texts = {self._cut(processor.tokenizer(text)["input_ids"]): embed for text, embed in texts.items()}
        self.image_batches: list[int] = []
        self.text_batches: list[int] = []

    def encode_images(self, pixel_values: np.ndarray) -> np.ndarray:
        process, centre = self._processor.image_processor, pixel_values.shape[-1] // 2
        reds = pixel_values[:, 0, centre, centre] * process.image_std[0] + process.image_mean[0]
        self.image_batches.append(len(reds))
        return np.array([self._images[red] for red in np.rint(reds * 255).astype(int).tolist()], np.float32)

    def encode_texts(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        self.text_batches.append(len(input_ids))
        lengths = attention_mask.sum(-1)
        rows = [tuple(row[:length].tolist()) for row, length in zip(input_ids, lengths, strict=True)]
        return np.array([self._texts[row] for row in rows], np.float32)

    def logits_per_image(self, image_embeds: np.ndarray, text_embeds: np.ndarray) -> np.ndarray:
        return 10 * image_embeds @ text_embeds.T

    @staticmethod
    def _cut(ids: list[int]) -> tuple[int, ...]:
        return tuple(ids if len(ids) <= LENGTH else [*ids[: LENGTH - 1], ids[-1]])


def known_classifier(
    processor: CLIPProcessor, images: Mapping[int, Sequence[float]], texts: Mapping[str, Sequence[float]]
) -> ZeroShotClassifier:
    """Return a classifier around a `KnownEncoder`."""
    return ZeroShotClassifier(KnownEncoder(processor, images, texts), processor)
