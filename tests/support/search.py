"""A model for tests of search: an image's embedding is its colours, a text's the colours that it names."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
from PIL import Image

from clip_core.images.inputs import load_image
from clip_core.processing.batch import BatchFeature
from clip_core.tasks.search.rows import IndexedImage
from clip_core.tasks.zero_shot import ZeroShotClassifier

COLOURS = ["red", "green", "blue"]
OTHER = "another"  # the name of a model with other weights


class Colours:
    """Encoder and processor in one.

    Args:
        weights: scales the colours.
    """

    tokenizer = SimpleNamespace(model_max_length=8, pad_token_id=0)

    def __init__(self, weights: tuple[float, float, float] = (1, 1, 1)) -> None:
        self.weights = np.array(weights, np.float32)
        self.image_processor = SimpleNamespace(to_dict=lambda: {"size": {"shortest_edge": 1}})
        self.read = 0  # images

    def __call__(self, text=None, images=None, **options):
        if images is not None:
            images = [load_image(image) if isinstance(image, Path) else image for image in images]
            self.read += len(images)
            pixels = [np.asarray(image.resize((4, 4)), np.float32).transpose(2, 0, 1) for image in images]
            return BatchFeature({"pixel_values": np.stack(pixels)})
        ids = np.array([[1 + (colour in one) for colour in COLOURS] for one in text])
        return BatchFeature({"input_ids": ids, "attention_mask": np.ones_like(ids)})

    def encode_texts(self, input_ids, attention_mask):
        return self._unit(input_ids[:, :3] - 1 + np.float32(1e-3))

    def encode_images(self, pixel_values):
        return self._unit(pixel_values.mean(axis=(2, 3)) + np.float32(1e-3))

    def logits_per_image(self, image_embeds, text_embeds):
        return 10 * image_embeds @ text_embeds.T

    def _unit(self, rows):
        rows = (rows * self.weights).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def model_of_colours(source: str, **options: object) -> ZeroShotClassifier:
    """Stand in for `ZeroShotClassifier.from_pretrained`."""
    colours = Colours((3, 1, 1) if source == OTHER else (1, 1, 1))
    return ZeroShotClassifier(colours, colours)


def stand_in() -> mock._patch:
    """Return a patch under which every model is one of colours."""
    return mock.patch.object(ZeroShotClassifier, "from_pretrained", model_of_colours)


def save_image(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def row(number: int) -> IndexedImage:
    """Return a stored image without a file; its size is its number."""
    return IndexedImage(b"/p/%05d.jpg" % number, number, 0, "2024-01-01T00:00:00", b"f", b"p", 1, 1)


def unit(rows: np.ndarray) -> np.ndarray:
    """Return rows scaled to unit norm."""
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def numbers(found) -> list[int]:
    """Return the numbers of the images that were found."""
    return [one.row.size for one in found]


def nearest(embeds: np.ndarray, query: np.ndarray, count: int, among=None) -> list[int]:
    """Return the numbers of the nearest embeddings by an exact search, nearest first."""
    among = np.arange(len(embeds)) if among is None else np.asarray(among)
    return among[np.argsort(-(embeds[among] @ query), kind="stable")][:count].tolist()
