"""Validated settings of the image processor, and their application to an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property, partial
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from clip_core.configuration.arguments import is_integer
from clip_core.hub.printing import shortened
from clip_core.images.transforms import byte_table, center_crop, look_up, normalize, rescale, resize, resized_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

Size = int | Sequence[int] | Mapping[str, int]

_SIZE_KEYS = (
    {"shortest_edge"},
    {"height", "width"},
    {"shortest_edge", "longest_edge"},
    {"longest_edge"},
    {"max_height", "max_width"},
)


_LARGEST_SIZE = 4096  # pixels of an edge; CLIP has up to 448
_LONGEST_EDGE = 2**18  # of a resized image before it is cropped


def size_dict(size: Size, argument: str, *, square: bool) -> dict[str, int]:
    """Return `size` or `crop_size` as a dictionary of positive integers.

    Args:
        size: a dictionary; `(height, width)`; or one value, as in old files.
        argument: the argument's name, for messages.
        square: interpret one value as height and width rather than as the shortest edge.

    Raises:
        ValueError: if it is not a valid size.
    """
    wanted = "give an integer, (height, width), {'height': ..., 'width': ...} or {'shortest_edge': ...}"
    try:
        if isinstance(size, Mapping):
            sizes = {key: _whole(value) for key, value in size.items() if value is not None}
        elif isinstance(size, Sequence):
            height, width = size
            sizes = {"height": _whole(height), "width": _whole(width)}
        else:
            sizes = dict.fromkeys(("height", "width") if square else ("shortest_edge",), _whole(size))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{argument}={shortened(repr(size))} is not a size; {wanted}") from error
    if sizes.keys() not in _SIZE_KEYS or min(sizes.values()) < 1 or max(sizes.values()) > _LARGEST_SIZE:
        raise ValueError(f"{argument}={shortened(size)} is not a size; {wanted}, of 1 to {_LARGEST_SIZE} pixels")
    return sizes


def _whole(value: Any) -> int:
    if not is_integer(value):
        raise TypeError(f"{value!r} is not an integer")
    return index(value)


def _check_numbers(argument: str, value: Any) -> None:
    try:
        are_numbers = np.asarray(value).dtype.kind in "bfiu"
    except ValueError:  # lists of different lengths
        are_numbers = False
    if not are_numbers:
        raise ValueError(f"{argument}={shortened(repr(value))} is invalid; give a number, or one per channel")


@dataclass(frozen=True)
class ImageSettings:
    """The processing steps for an image; the fields are the arguments of `CLIPImageProcessor`.

    Raises:
        ValueError: if an argument required by a requested step is missing or invalid.
    """

    do_resize: bool
    size: dict[str, int]
    resample: int
    do_center_crop: bool
    crop_size: dict[str, int]
    do_rescale: bool
    rescale_factor: float
    do_normalize: bool
    image_mean: float | Collection[float]
    image_std: float | Collection[float]
    do_convert_rgb: bool

    def __post_init__(self) -> None:
        for name in ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb"):
            if not isinstance(getattr(self, name), bool | int | np.bool_):
                raise ValueError(f"{name}={shortened(repr(getattr(self, name)))} is invalid; give True or False")  # noqa: TRY004
        steps = {
            "do_resize": ("size", "resample"),
            "do_center_crop": ("crop_size",),
            "do_rescale": ("rescale_factor",),
            "do_normalize": ("image_mean", "image_std"),
        }
        for step, arguments in steps.items():
            for argument in arguments:
                if getattr(self, step) and getattr(self, argument) is None:
                    raise ValueError(f"{argument}=None, but {step}=True requires it")
        if self.do_resize and self.resample not in list(Image.Resampling):
            known = ", ".join(f"{filter_.value} ({filter_.name.lower()})" for filter_ in Image.Resampling)
            raise ValueError(f"resample={shortened(repr(self.resample))} is not a Pillow filter; choose from {known}")
        numbers = {"rescale_factor": self.do_rescale, "image_mean": self.do_normalize, "image_std": self.do_normalize}
        for argument in (name for name, is_used in numbers.items() if is_used):
            _check_numbers(argument, getattr(self, argument))
        if self.do_normalize and not np.asarray(self.image_std).all():
            raise ValueError(f"image_std={shortened(self.image_std)} is invalid; a value of 0 would divide by 0")
        if self.do_center_crop and self.crop_size.keys() != {"height", "width"}:
            raise ValueError(f"crop_size={self.crop_size} is not a crop size; it needs 'height' and 'width'")

    def apply(self, image: np.ndarray | Image.Image) -> np.ndarray:
        """Resize, crop, rescale and normalize an image, as requested.

        Args:
            image: an array `(height, width, channels)`, or an RGB image.

        Returns:
            An array `(height, width, channels)`: float32 after rescaling; otherwise uint8 after resizing, or the
            input's dtype. Normalizing converts integers to float32.
        """
        crop = (self.crop_size["height"], self.crop_size["width"]) if self.do_center_crop else None
        if self.do_resize:
            height, width = (image.height, image.width) if isinstance(image, Image.Image) else image.shape[:2]
            shape = resized_shape(height, width, self.size)
            if max(shape) > _LONGEST_EDGE:
                raise ValueError(
                    f"an image of {width} by {height} pixels would become {shape[1]} by {shape[0]}; crop it"
                )
            image = resize(image, shape, self.resample, middle=crop)
        pixels = np.asarray(image)
        if crop is not None:
            pixels = center_crop(pixels, crop)
        if pixels.dtype == np.uint8 and (self.do_rescale or self.do_normalize):
            return look_up(self._byte_table(pixels.shape[-1]), pixels)
        return self._scale(pixels)

    @cached_property
    def _byte_table(self) -> Callable[[int], np.ndarray]:
        """Return a cached table of the output for each byte, by number of channels. All images of a call share it."""
        return cache(partial(byte_table, self._scale))

    def _scale(self, pixels: np.ndarray) -> np.ndarray:
        if self.do_rescale:
            pixels = rescale(pixels, self.rescale_factor)
        if self.do_normalize:
            pixels = normalize(pixels, self.image_mean, self.image_std)
        return pixels


ARGUMENTS = tuple(field.name for field in fields(ImageSettings))


def settings_of(source: Any, given: Mapping[str, Any]) -> ImageSettings:
    """Return the settings from a processor's attributes, overridden by the arguments of a call.

    Args:
        source: the processor.
        given: the arguments of the call; None keeps the attribute.
    """
    chosen = {name: value if (value := given.get(name)) is not None else getattr(source, name) for name in ARGUMENTS}
    chosen["size"] = size_dict(chosen["size"], "size", square=False)
    chosen["crop_size"] = size_dict(chosen["crop_size"], "crop_size", square=True)
    return ImageSettings(**chosen)
