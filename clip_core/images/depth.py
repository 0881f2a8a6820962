"""Grey images of more than 8 bits per pixel, or with a sign: scaled to 8 bits if the file states the depth.

Pillow's own conversion to RGB clips 16-bit values to 255, which turns the image white, and truncates floats between 0
and 1 to 0, which turns it black. It reads 8-bit values with a sign as if they had none, so that values just below zero
turn white. Of images with deeper colours, such as 16-bit RGB PNGs, Pillow keeps the high byte of each value. It has two
faults there: `load_pixels` corrects one of them and reports the other.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable

# First letters of Pillow's modes with more than 8 bits: "I", "I;16", "I;16B" and so on, and "F".
_DEEP = ("I", "F")

# Formats with 16-bit values that Pillow opens in mode "I".
_SIXTEEN_BITS = frozenset({"PNG", "PPM"})

# TIFF tags.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANES, _SAMPLE_FORMAT = 258, 262, 284, 339
_WHITE_IS_ZERO, _SEPARATE, _SIGNED = 0, 2, 2

# A JPEG 2000 codestream starts with SOC, SIZ, 36 bytes, the number of channels in 2, and 3 bytes for each channel, of
# which the first is its number of bits less one, with the sign as highest bit.
_CODESTREAM, _CHANNELS = b"\xff\x4f\xff\x51", 40


class WrongColorsError(ValueError):
    """An image of which Pillow decodes some colours wrongly."""


def load_pixels(image: Image.Image) -> None:
    """Load the pixels of an opened image, as its own `load` does, and correct two faults of Pillow in deep colours.

    Pillow reads an uncompressed 16-bit TIFF with separate planes as if it had 8 bits: every value appears twice, and
    the right half is lost. The brightest colours of a JPEG 2000 of more than 8 bits are rounded to 256 and stored as 0,
    so that white turns black.

    Raises:
        WrongColorsError: if a JPEG 2000 has colours of more than 8 bits, and one of their values is 0 and so may be the
            brightest.
    """
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(_PLANES) == _SEPARATE and set(tags.get(_BITS_PER_SAMPLE, ())) == {16}:
        order = "B" if tags.prefix == b"MM" else "L"
        tiles: Any = image.tile  # type: ignore[attr-defined]
        for place, (codec, area, start, args) in enumerate(tiles):
            if codec == "raw":
                tile = (codec, area, start, (f"{args[0]};16{order}", *args[1:]))
                tiles[place] = getattr(type(tiles[place]), "_make", tuple)(tile)  # a plain tuple in older releases
    may_wrap = image.format == "JPEG2000" and not is_deep(image) and _bits_of_jpeg2000(image) > 8
    image.load()
    if may_wrap:
        colors = image.getbands()[: 1 if image.mode == "LA" else 3]
        if any(image.getchannel(color).getextrema()[0] == 0 for color in colors):
            raise WrongColorsError(
                "a JPEG 2000 with colours of more than 8 bits, of which Pillow turns the brightest black; convert it "
                "to PNG or to 8 bits"
            )


def _bits_of_jpeg2000(image: Image.Image) -> int:
    """Return the largest number of bits of a channel in an opened file; 0 if it has no codestream."""
    file: Any = image.fp  # type: ignore[attr-defined]
    place = file.tell()
    file.seek(0)
    content = file.read()
    file.seek(place)
    start = content.find(_CODESTREAM)
    if start < 0:
        return 0
    count = int.from_bytes(content[start + _CHANNELS : start + _CHANNELS + 2], "big")
    depths = content[start + _CHANNELS + 2 : start + _CHANNELS + 2 + 3 * count : 3]
    return max(((depth & 0x7F) + 1 for depth in depths), default=0)


def is_deep(image: Image.Image) -> bool:
    """Return True for a grey image of more than 8 bits per pixel, or of 8 bits with a sign.

    Args:
        image: the image; only an image as opened knows that its file states a sign.
    """
    return image.mode.startswith(_DEEP) or (image.mode == "L" and _is_signed(getattr(image, "tag_v2", {})))


def warn_of_clipping(image: Image.Image, stacklevel: int) -> None:
    """Warn that an image of unknown depth will be clipped to 8 bits, or that its sign will be ignored.

    Args:
        image: an image for which `is_deep` is true.
        stacklevel: as in `warnings.warn`, counted from the caller of this function.
    """
    if image.mode == "L":
        fate = "an image whose file states a sign are read as 0..255, as in transformers, those below zero as 128..255"
    else:
        fate = (
            f"an image of mode {image.mode!r} are clipped to 0..255, as in transformers, because the image does not "
            "state their range"
        )
    warnings.warn(
        f"the values of {fate}; scale it to 8 bits and convert it to mode 'L' or 'RGB', or give the path of its file, "
        "which states the depth",
        stacklevel=stacklevel + 1,
    )


def scaling_to_bytes(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """Return a function that scales an image to 8 bits, according to the depth that its file states.

    Integers keep their 8 highest bits, as Pillow keeps them for deep colours. Negative values become 0. The 7 bits of
    8-bit values with a sign are scaled to 0..255. If the file states 32 bits or no depth, values up to 255 count as 8
    bits, and values up to 65535 as 16. Floats are scaled from 0..1, unless they are whole numbers from 0 to 255, which
    are kept.

    Args:
        image: the image as opened; transposed copies no longer know what the file states.

    Returns:
        A function of the image or a transposed copy. It raises a ValueError for floats outside both ranges.
    """
    tags: Any = getattr(image, "tag_v2", {})
    bits, is_signed = _depth(image, tags)
    is_inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO

    def scaled(image: Image.Image) -> Image.Image:
        values = np.asarray(image)
        levels = _bytes_of_floats(values) if image.mode == "F" else _high_byte(values, bits, is_signed=is_signed)
        return Image.fromarray(255 - levels if is_inverted else levels)

    return scaled


def _depth(image: Image.Image, tags: Any) -> tuple[int, bool]:
    """Return the number of bits per pixel, and True if the values are signed."""
    if _BITS_PER_SAMPLE in tags:
        return tags[_BITS_PER_SAMPLE][0], _is_signed(tags)
    is_short = image.mode.startswith("I;16") or image.format in _SIXTEEN_BITS
    return (16, False) if is_short else (32, True)


def _is_signed(tags: Any) -> bool:
    return _SIGNED in tags.get(_SAMPLE_FORMAT, ())


def _high_byte(values: np.ndarray, bits: int, *, is_signed: bool) -> np.ndarray:
    """Return the 8 highest bits of each value, not counting the sign, as uint8; 7 bits are scaled to the full range."""
    if bits == 8:  # with a sign, which Pillow reads as the highest bit
        positive = np.maximum(values.view(np.int8), 0).astype(np.uint8)
        return positive << 1 | positive >> 6
    if bits == 32 and not is_signed:
        values = values.view(np.uint32)  # Pillow has only signed integers
    highest = values.max()
    if bits == 32 and highest < 1 << 16:
        bits = 8 if highest < 1 << 8 else 16
    elif is_signed:
        bits -= 1
    levels: np.ndarray = (np.maximum(values, 0) >> (bits - 8)).astype(np.uint8)
    return levels


def _bytes_of_floats(values: np.ndarray) -> np.ndarray:
    lowest, highest = values.min(), values.max()
    if lowest >= 0 and highest <= 1:
        levels: np.ndarray = np.rint(values * 255).astype(np.uint8)
        return levels
    if lowest >= 0 and highest <= 255 and np.array_equal(values, np.rint(values)):
        return values.astype(np.uint8)
    raise ValueError(
        f"its values are floats from {lowest} to {highest}; expected values from 0 to 1, or whole numbers from 0 to "
        "255. Convert it to 8 bits"
    )
