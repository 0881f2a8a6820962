"""Resizing, cropping and scaling one image, a numpy array of shape `(height, width, channels)`, as Pillow and numpy do.

Each step gives the numbers of transformers' CLIPImageProcessor ("slow", 4.57.6), to the last bit.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ChannelFormat = Literal["channels_first", "channels_last"]
FIRST: ChannelFormat = "channels_first"
LAST: ChannelFormat = "channels_last"


def check_channel_format(value: object, argument: str) -> ChannelFormat | None:
    """`data_format` or `input_data_format` as given (a string, an enum whose value is one, or None), checked.

    "none", which says of an input that it has no axis of channels, comes back as "channels_last": a view of it has one.
    """
    name = getattr(value, "value", value)
    if name == "none" and argument == "input_data_format":
        return LAST
    if name not in {None, FIRST, LAST}:
        raise ValueError(f"{argument}={value!r} is not known; it is {FIRST!r}, {LAST!r} or None")
    return name


def infer_channel_format(shape: tuple[int, ...]) -> ChannelFormat:
    """Where an array's channels are: on the axis of length 1 or 3, the first if both are; nowhere in 2-D.

    Raises:
        ValueError: neither axis is of length 1 or 3.
    """
    if len(shape) == 2:
        return LAST
    first, last = shape[0] in {1, 3}, shape[2] in {1, 3}
    if first and last:
        warnings.warn(
            f"an image of shape {shape} may have its channels first or last, and they are taken to be first; pass "
            f"input_data_format={LAST!r} if they are last, or {FIRST!r} to say that they are not",
            stacklevel=5,
        )
    if not first and not last:
        raise ValueError(
            f"an image of shape {shape} has 1 or 3 channels neither first nor last; pass "
            f"input_data_format={FIRST!r} or {LAST!r}"
        )
    return FIRST if first else LAST


def to_channels_last(image: np.ndarray, channel_format: ChannelFormat) -> np.ndarray:
    """A view of shape `(height, width, channels)`; an image of two axes has one channel."""
    if image.ndim == 2:
        return image[..., np.newaxis]
    return image.transpose(1, 2, 0) if channel_format == FIRST else image


def from_channels_last(image: np.ndarray, channel_format: ChannelFormat) -> np.ndarray:
    """A view of shape `(channels, height, width)` where the channels go first."""
    return image.transpose(2, 0, 1) if channel_format == FIRST else image


def resized_shape(height: int, width: int, size: Mapping[str, int]) -> tuple[int, int]:
    """The `(height, width)` that `size` asks for: itself, or one that keeps the proportions.

    Raises:
        ValueError: `size` holds neither `shortest_edge` nor `height` and `width`.
    """
    if "shortest_edge" in size:
        short = size["shortest_edge"]
        long = int(short * max(height, width) / min(height, width))  # rounded down
        return (long, short) if width <= height else (short, long)
    if {"height", "width"} <= size.keys():
        return size["height"], size["width"]
    raise ValueError(f"size={dict(size)} cannot be resized to; it needs 'shortest_edge', or 'height' and 'width'")


def resize(image: np.ndarray | Image.Image, shape: tuple[int, int], resample: int) -> np.ndarray:
    """Resize by Pillow, which knows bytes alone.

    Args:
        image: an array of 1 to 4 channels. Integers, of any dtype, are taken as they are and come back as uint8.
            Floating-point numbers between 0 and 1 are cut to 256 levels for Pillow, and come back as float32
            between 0 and 1. An RGB picture stands for its array.
        shape: `(height, width)`.
        resample: one of `PIL.Image.Resampling`.

    Raises:
        ValueError: the values are of neither range, or the channels are more.
    """
    picture, is_unit_range = (image, False) if isinstance(image, Image.Image) else _to_picture(image)
    height, width = shape
    resized = np.asarray(picture.resize((width, height), resample=Image.Resampling(resample)))
    resized = to_channels_last(resized, LAST)
    return rescale(resized, 1 / 255) if is_unit_range else resized


def _to_picture(image: np.ndarray) -> tuple[Image.Image, bool]:
    """The array as a picture, and whether its values were between 0 and 1."""
    channels = image.shape[-1]
    if channels > 4:
        raise ValueError(f"it has {channels} channels, and Pillow resizes 1 to 4; pass do_resize=False")
    is_unit_range = image.dtype != np.uint8 and not _holds_bytes(image)
    levels = (rescale(image, 255) if is_unit_range else image).astype(np.uint8)
    return Image.fromarray(levels[..., 0] if channels == 1 else levels), is_unit_range


def _holds_bytes(image: np.ndarray) -> bool:
    """Whether the values are whole numbers from 0 to 255; if not, they lie between 0 and 1.

    Raises:
        ValueError: they do neither.
    """
    with np.errstate(invalid="ignore"):  # NaN is no integer
        is_whole = np.allclose(image, image.astype(int))
    lowest, highest = image.min(), image.max()
    if not (lowest >= 0 and highest <= (255 if is_whole else 1)):
        raise ValueError(
            f"its values go from {lowest} to {highest}, and cannot be resized: that takes whole numbers from 0 to 255, "
            "or any from 0 to 1. Give such, or pass do_resize=False"
        )
    return is_whole


def center_crop(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Cut out the middle, and pad with zeros where the image is smaller than `shape`, `(height, width)`.

    An odd row or column goes: off the bottom and the right, in cutting; to the top and the left, in padding.
    """
    for axis, length in enumerate(shape):
        excess = image.shape[axis] - length
        if excess > 0:
            window = slice(excess // 2, excess // 2 + length)
            image = image[window] if axis == 0 else image[:, window]
        elif excess < 0:
            padding = [(0, 0)] * image.ndim
            padding[axis] = ((1 - excess) // 2, -excess // 2)
            image = np.pad(image, padding)
    return image


def rescale(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply every value, in float64; the result is float32."""
    return (image.astype(np.float64) * factor).astype(np.float32)


def normalize(image: np.ndarray, mean: float | Collection[float], std: float | Collection[float]) -> np.ndarray:
    """Subtract the mean and divide by the standard deviation, of each channel or of all.

    Floating-point dtypes stay; integers become float32.

    Raises:
        ValueError: there are not as many means or deviations as channels.
    """
    channels = image.shape[-1]
    for argument, value in (("image_mean", mean), ("image_std", std)):
        if isinstance(value, Collection) and len(value) != channels:
            raise ValueError(
                f"it has {channels} channel{'s' * (channels > 1)} and {argument} has {len(value)}; give a number for "
                "each, or one for all, or pass do_normalize=False"
            )
    if not np.issubdtype(image.dtype, np.floating):
        image = image.astype(np.float32)
    normalized: np.ndarray = (image - np.asarray(mean, image.dtype)) / np.asarray(std, image.dtype)
    return normalized


def per_byte(function: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
    """`function(image)` for a uint8 image and a function that treats each value by itself, much faster.

    A channel can hold but 256 values: the function is asked for those, and its answers are looked up. The result is
    laid out with the channels first in memory, as the models want it.
    """
    height, width, channels = image.shape
    every_value = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, np.newaxis, np.newaxis], (256, 1, channels))
    table = np.ascontiguousarray(function(every_value)[:, 0].T)  # (channels, 256)
    looked_up = np.empty((channels, height, width), table.dtype)
    for channel in range(channels):
        # No byte is out of bounds; "clip" only spares numpy from looking.
        np.take(table[channel], image[..., channel], out=looked_up[channel], mode="clip")
    return looked_up.transpose(1, 2, 0)
