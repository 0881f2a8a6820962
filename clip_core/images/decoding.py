"""Decoding image files: the formats that are allowed, clear errors, and upright RGB."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image, ImageOps, UnidentifiedImageError

from clip_core.hub.files import check_no_device
from clip_core.hub.pointers import LFS_ADVICE, is_lfs_pointer
from clip_core.hub.printing import printable, reason_of
from clip_core.images.depth import WrongColorsError, is_deep, load_pixels, scaling_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Formats that Pillow decodes itself. For EPS, it would start Ghostscript; others it registers without a decoder.
_FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM", "TIFF", "AVIF", "DDS", "DIB", "ICNS", "ICO", "JPEG2000", "MPO"]
_FORMATS += ["PCX", "PSD", "QOI", "SGI", "TGA", "XBM", "XPM"]


class ImageFileError(ValueError):
    """An image that is missing or cannot be read; the one-line message names it."""


def open_image(path: Path) -> Image.Image:
    """Open and decode an image, in the mode of its file; `load_image` returns an upright RGB image.

    Args:
        path: the file.

    Raises:
        ImageFileError: if the file is missing, damaged or not an image, or a pipe or a device.
    """
    try:
        check_no_device(path)
    except ValueError as error:
        raise ImageFileError(str(error)) from error
    # Not opened by its path: Pillow would map an uncompressed TIFF into memory with height and width already swapped if
    # its orientation is a quarter turn, which scrambles the image.
    with decoding_errors_named(str(path), path), path.open("rb") as file:
        image = Image.open(file, formats=_formats())
        load_pixels(image)
        return image


@cache
def _formats() -> tuple[str, ...]:
    """Return the formats of `_FORMATS` that this release of Pillow has."""
    Image.init()
    return tuple(format_ for format_ in _FORMATS if format_ in Image.OPEN)


@cache
def image_endings() -> frozenset[str]:
    """Return the endings of the names of image files, such as ".png", in lower case."""
    return frozenset(ending for ending, format_ in Image.registered_extensions().items() if format_ in _formats())


@contextmanager
def decoding_errors_named(name: str, content: Path | bytes = b"") -> Iterator[None]:
    """Turn any error from opening or decoding an image into an ImageFileError that starts with `name`.

    Args:
        name: the image's name in the message.
        content: the file, or its bytes.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise ImageFileError(f"{name}: no such file") from error
    except UnidentifiedImageError as error:
        # Pillow's message ends in the path or an object's address; ours starts with the path.
        reason = LFS_ADVICE if is_lfs_pointer(content) else "not an image that Pillow can read"
        raise ImageFileError(f"{name}: {reason}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageFileError(
            f"{name}: too large. {error} If you trust the file, raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from error
    except WrongColorsError as error:
        raise ImageFileError(f"{name}: {error}") from error
    except OSError as error:
        # Pillow's own have no number.
        reason = f"damaged image ({printable(error)})" if error.errno is None else reason_of(error)
        raise ImageFileError(f"{name}: {reason}") from error
    except Exception as error:  # Pillow's decoders may raise anything on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageFileError(f"{name}: damaged image ({reason})") from error


def decode_image(content: bytes, name: str, max_pixels: int | None = None) -> Image.Image:
    """Decode an image from the bytes of its file, as upright RGB like `load_image`.

    Args:
        content: the bytes of the file.
        name: the image's name in the message.
        max_pixels: the most that its header may state; None for Pillow's own limit.

    Raises:
        ImageFileError: if Pillow cannot read it, or it is too large; the message starts with `name`.
    """
    return upright(_decoded(content, name, max_pixels), name)


def _decoded(content: bytes, name: str, max_pixels: int | None = None) -> Image.Image:
    with decoding_errors_named(name, content):
        image = Image.open(BytesIO(content), formats=_formats())
    if max_pixels is not None and image.width * image.height > max_pixels:
        size = f"{image.width} x {image.height} pixels"
        raise ImageFileError(f"{name}: too large, {size}; at most {max_pixels:,} pixels are allowed")
    with decoding_errors_named(name, content):
        load_pixels(image)
    return image


def upright(image: Image.Image, name: str) -> Image.Image:
    """Return an image as RGB, rotated by its EXIF orientation, its grey values scaled to 8 bits if they have more.

    The image is rotated in place, and an RGB one is itself returned, because a copy of a large one takes much memory.

    Args:
        image: the image of a file.
        name: the image's name in the message.

    Raises:
        ImageFileError: if its mode or its range of values is unknown; the message starts with `name`.
    """
    try:
        scaled = scaling_to_bytes(image) if is_deep(image) else None  # before it loses the tags of its file
        if image.format != "TIFF":  # Pillow rotates those itself, and before 10.1 still states their orientation
            with decoding_errors_named(name):
                ImageOps.exif_transpose(image, in_place=True)
        image = scaled(image) if scaled else image
        image.info.pop("transparency", None)  # Pillow would drop it with a warning
        return image if image.mode == "RGB" else image.convert("RGB")
    except ImageFileError:
        raise
    except ValueError as error:  # an unknown range, or a mode that Pillow does not convert
        raise ImageFileError(f"{name}: {error}") from error
