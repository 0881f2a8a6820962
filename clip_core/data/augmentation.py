"""Random crops for training CLIP: an image in, a crop of the model's input size out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from PIL import Image

from clip_core.images.transforms import resized_shape

if TYPE_CHECKING:
    import numpy as np

_TRIES = 10


class Augmentation(Protocol):
    """A random transform of an image. It must be picklable and draw only from `rng`."""

    def __call__(
        self, image: Image.Image, shape: tuple[int, int], resample: int, rng: np.random.Generator
    ) -> Image.Image:
        """Return the transformed image.

        Args:
            image: RGB image.
            shape: `(height, width)` of the result.
            resample: a `PIL.Image.Resampling` value.
            rng: the sample's own generator.
        """


@dataclass(frozen=True)
class RandomCrop:
    """A random crop of the image, resized first so that its shorter edge just fits (Radford et al. 2021).

    Attributes:
        flip: the probability of a horizontal flip.
    """

    flip: float = 0.0

    def __post_init__(self) -> None:
        _check_flip(self.flip)

    def __call__(
        self, image: Image.Image, shape: tuple[int, int], resample: int, rng: np.random.Generator
    ) -> Image.Image:
        """See `Augmentation`."""
        height, width = shape
        new_height, new_width = resized_shape(image.height, image.width, {"shortest_edge": max(shape)})
        resized = image.resize((new_width, new_height), Image.Resampling(resample))
        top, left = _draw(rng, new_height - height), _draw(rng, new_width - width)
        return _flipped(resized.crop((left, top, left + width, top + height)), self.flip, rng)


@dataclass(frozen=True)
class RandomResizedCrop:
    """A crop of random area and aspect ratio, resized to the model's input size, as in open_clip.

    Attributes:
        scale: the minimum and maximum area, as a fraction of the image's.
        ratio: the minimum and maximum width / height.
        flip: the probability of a horizontal flip.
    """

    scale: tuple[float, float] = (0.9, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.0

    def __post_init__(self) -> None:
        _check_flip(self.flip)
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale={self.scale} is not a range of areas; give two values from 0 to 1, smaller first")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio={self.ratio} is not a range of ratios; give two positive values, smaller first")

    def __call__(
        self, image: Image.Image, shape: tuple[int, int], resample: int, rng: np.random.Generator
    ) -> Image.Image:
        """See `Augmentation`."""
        left, top, width, height = self._part(image.width, image.height, rng)
        part = image.crop((left, top, left + width, top + height))
        resized = part.resize((shape[1], shape[0]), Image.Resampling(resample))
        return _flipped(resized, self.flip, rng)

    def _part(self, width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """Return left, top, width and height of a random crop, or of a central one if no draw fits."""
        lowest, highest = map(math.log, self.ratio)
        for _ in range(_TRIES):
            area = width * height * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(lowest, highest))
            part_width, part_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < part_width <= width and 0 < part_height <= height:
                return _draw(rng, width - part_width), _draw(rng, height - part_height), part_width, part_height
        part_width = min(width, max(1, round(height * self.ratio[1])))
        part_height = min(height, max(1, round(width / self.ratio[0])))
        return (width - part_width) // 2, (height - part_height) // 2, part_width, part_height


def _check_flip(flip: float) -> None:
    if not 0 <= flip <= 1:
        raise ValueError(f"flip={flip} is not a probability; give a value from 0 to 1")


def _draw(rng: np.random.Generator, most: int) -> int:
    return int(rng.integers(most + 1))


def _flipped(image: Image.Image, probability: float, rng: np.random.Generator) -> Image.Image:
    if probability and rng.random() < probability:
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image
