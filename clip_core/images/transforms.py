"""Transforms of one image, as a numpy array `(height, width, channels)`: resizing, cropping and scaling.

Every step is bit-identical to transformers' CLIPImageProcessor ("slow", 4.57.6).
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from clip_core.hub.printing import counted
from clip_core.images.resampling import goes_down_first, resample_bicubic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ChannelFormat = Literal["channels_first", "channels_last"]
FIRST: ChannelFormat = "channels_first"
LAST: ChannelFormat = "channels_last"


def check_channel_format(value: object, argument: str) -> ChannelFormat | None:
    """Validate `data_format` or `input_data_format`: a string, an enum with a string value, or None.

    "none", for an input without a channel axis, becomes "channels_last", because a view adds that axis.

    Args:
        value: the argument's value.
        argument: the argument's name.

    Raises:
        ValueError: if the value is unknown.
    """
    name = getattr(value, "value", value)
    if name == "none" and argument == "input_data_format":
        return LAST
    if name not in {None, FIRST, LAST}:
        raise ValueError(f"{argument}={value!r} is unknown; choose {FIRST!r}, {LAST!r} or None")
    return name


def infer_channel_format(shape: tuple[int, ...]) -> ChannelFormat:
    """Infer an array's channel axis: the one of length 1 or 3, or the first if both are; 2-D arrays have none.

    Args:
        shape: 2 or 3 axes.

    Raises:
        ValueError: if neither axis has length 1 or 3.
    """
    if len(shape) == 2:
        return LAST
    first, last = shape[0] in {1, 3}, shape[2] in {1, 3}
    if first and last:
        warnings.warn(
            f"the channels of an image of shape {shape} may come first or last; assuming first. Pass "
            f"input_data_format={LAST!r} if they are last, or {FIRST!r} to silence this",
            stacklevel=7,  # the caller of an image processor
        )
    if not first and not last:
        raise ValueError(
            f"an image of shape {shape} has no axis of 1 or 3 channels, first or last; pass "
            f"input_data_format={FIRST!r} or {LAST!r}"
        )
    return FIRST if first else LAST


def to_channels_last(image: np.ndarray, channel_format: ChannelFormat) -> np.ndarray:
    """Return a view of shape `(height, width, channels)`; an image with two axes has one channel.

    Args:
        image: 2 or 3 axes.
        channel_format: the channel axis of `image`.
    """
    if image.ndim == 2:
        return image[..., np.newaxis]
    return image.transpose(1, 2, 0) if channel_format == FIRST else image


def from_channels_last(image: np.ndarray, channel_format: ChannelFormat) -> np.ndarray:
    """Return a view in the given channel format: `(channels, height, width)` or unchanged.

    Args:
        image: `(height, width, channels)`.
        channel_format: the channel axis of the result.
    """
    return image.transpose(2, 0, 1) if channel_format == FIRST else image


def resized_shape(height: int, width: int, size: Mapping[str, int]) -> tuple[int, int]:
    """Return the `(height, width)` that `size` requests, keeping the aspect ratio for "shortest_edge".

    Args:
        height: height of the image.
        width: width of the image.
        size: `shortest_edge`, or `height` and `width`, in pixels.

    Raises:
        ValueError: if `size` has neither `shortest_edge` nor `height` and `width`.
    """
    if "shortest_edge" in size:
        short = size["shortest_edge"]
        long = int(short * max(height, width) / min(height, width))  # rounded down
        return (long, short) if width <= height else (short, long)
    if {"height", "width"} <= size.keys():
        return size["height"], size["width"]
    raise ValueError(f"size={dict(size)} is not a target size; it needs 'shortest_edge', or 'height' and 'width'")


def resize(
    image: np.ndarray | Image.Image, shape: tuple[int, int], resample: int, middle: tuple[int, int] | None = None
) -> np.ndarray:
    """Resize like Pillow, which handles only bytes.

    Args:
        image: an array of 1 to 4 channels. Integers of any dtype become uint8. Floats between 0 and 1 are quantized to
            256 levels for Pillow, and the result is float32 between 0 and 1. An RGB image gives the same result as its
            array.
        shape: `(height, width)`.
        resample: a `PIL.Image.Resampling` value.
        middle: the `(height, width)` that `center_crop` will keep of the result; the rest may be left out of the
            result.

    Raises:
        ValueError: if the values are outside both ranges, or there are more than 4 channels.
    """
    levels, is_unit_range = (image, False) if isinstance(image, Image.Image) else _to_bytes(image)
    rows, columns = (_middle(length, wanted) for length, wanted in zip(shape, middle or shape, strict=True))
    down_first = _order_of_passes(levels, shape, resample)
    if down_first is None:
        image = levels if isinstance(levels, Image.Image) else _to_image(levels)
        resized = np.asarray(image.resize(shape[::-1], resample=Image.Resampling(resample)))
        resized = to_channels_last(resized, LAST)[rows.start : rows.stop, columns.start : columns.stop]
    else:
        resized = resample_bicubic(levels, shape, rows, columns, down_first=down_first)
    return rescale(resized, 1 / 255) if is_unit_range else resized


def _order_of_passes(image: np.ndarray | Image.Image, shape: tuple[int, int], resample: int) -> bool | None:
    """Return the `down_first` argument of `resample_bicubic`; None to let Pillow do the work."""
    if isinstance(image, Image.Image):
        old_shape, is_rgb = (image.height, image.width), image.mode == "RGB"
    else:
        old_shape, is_rgb = image.shape[:2], image.shape[2] == 3
    if resample != Image.Resampling.BICUBIC or not is_rgb or old_shape == shape:
        return None
    return goes_down_first(old_shape, shape)


def _to_bytes(image: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the array as uint8, and True if its values were between 0 and 1."""
    channels = image.shape[-1]
    if channels > 4:
        raise ValueError(f"it has {channels} channels, but Pillow resizes only 1 to 4; pass do_resize=False")
    if image.dtype == np.uint8:
        return image, False
    is_unit_range = not _holds_bytes(image)
    return (rescale(image, 255) if is_unit_range else image).astype(np.uint8), is_unit_range


def _to_image(levels: np.ndarray) -> Image.Image:
    return Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)


def _holds_bytes(image: np.ndarray) -> bool:
    """Return True for whole values from 0 to 255, False for values between 0 and 1.

    Raises:
        ValueError: if the values are outside both ranges.
    """
    with np.errstate(invalid="ignore"):  # NaN is not an integer
        is_whole = np.allclose(image, image.astype(int))
    lowest, highest = image.min(), image.max()
    if not (lowest >= 0 and highest <= (255 if is_whole else 1)):
        raise ValueError(
            f"its values range from {lowest} to {highest}; resizing needs integers from 0 to 255, or any values from "
            "0 to 1. Convert them, or pass do_resize=False"
        )
    return is_whole


def center_crop(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Crop the center, zero-padding if the image is smaller than `shape`, `(height, width)`.

    If the difference is odd, the extra row or column is cut off the bottom and right, or padded at the top and left.

    Args:
        image: `(height, width, channels)`.
        shape: `(height, width)` of the result.
    """
    rows, columns = (_middle(length, wanted) for length, wanted in zip(image.shape, shape, strict=False))
    image = image[rows.start : rows.stop, columns.start : columns.stop]
    for axis, length in enumerate(shape):
        lack = length - image.shape[axis]
        if lack > 0:
            padding = [(0, 0)] * image.ndim
            padding[axis] = ((lack + 1) // 2, lack // 2)
            image = np.pad(image, padding)
    return image


def _middle(length: int, wanted: int) -> range:
    """Return the central `wanted` indices of a row, or all if it is shorter."""
    first = max(0, length - wanted) // 2
    return range(first, first + min(length, wanted))


def rescale(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply every value in float64 and return float32.

    Args:
        image: any shape.
        factor: the factor.
    """
    return (image.astype(np.float64) * factor).astype(np.float32)


def normalize(image: np.ndarray, mean: float | Collection[float], std: float | Collection[float]) -> np.ndarray:
    """Subtract the mean and divide by the standard deviation, per channel or for all channels.

    Floating-point dtypes are kept; integers become float32.

    Args:
        image: `(height, width, channels)`.
        mean: one value per channel, or one for all.
        std: one value per channel, or one for all.

    Raises:
        ValueError: if the number of means or deviations differs from the number of channels.
    """
    channels = image.shape[-1]
    for argument, value in (("image_mean", mean), ("image_std", std)):
        if isinstance(value, Collection) and len(value) != channels:
            raise ValueError(
                f"it has {counted(channels, 'channel')} but {argument} has {counted(len(value), 'value')}; give one "
                "per channel, or one for all, or pass do_normalize=False"
            )
    if not np.issubdtype(image.dtype, np.floating):
        image = image.astype(np.float32)
    normalized: np.ndarray = (image - np.asarray(mean, image.dtype)) / np.asarray(std, image.dtype)
    return normalized


def byte_table(function: Callable[[np.ndarray], np.ndarray], channels: int) -> np.ndarray:
    """Tabulate a function for every byte: `(channels, 256)`.

    Args:
        function: maps an image elementwise, per channel.
        channels: number of channels.
    """
    every_byte = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, np.newaxis, np.newaxis], (256, 1, channels))
    return np.ascontiguousarray(function(every_byte)[:, 0].T)


def look_up(table: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Map a uint8 image through a table from `byte_table`, which is much faster than calling the function itself.

    The result has channels first in memory, as the models expect.

    Args:
        table: `(channels, 256)`.
        image: `(height, width, channels)`, uint8.
    """
    height, width, channels = image.shape
    looked_up = np.empty((channels, height, width), table.dtype)
    for channel in range(channels):
        # No byte is out of bounds; mode "clip" only spares numpy the check.
        np.take(table[channel], image[..., channel], out=looked_up[channel], mode="clip")
    return looked_up.transpose(1, 2, 0)
