"""Whatever a caller may give as images, one at a time, as pictures of Pillow and numpy arrays."""

from __future__ import annotations

import base64
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageOps

from clip_core.batch import framework_of, to_numpy
from clip_core.image_files import ImageFileError, decoding_errors_named, open_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    Source = str | Path | Image.Image | np.ndarray

_URL = ("http://", "https://")
_NO_PIXELS = "OSUVMmc"  # kinds of numpy dtypes: objects, texts, raw bytes, times, complex numbers
_SECONDS = 60.0
_SHOWN_CHARACTERS = 80


def flat_images(images: Any, name: str = "images") -> Iterator[tuple[str, Image.Image | np.ndarray]]:
    """All images of a call, in order, each with its name in messages, such as "images[2]".

    Args:
        images: a picture of Pillow; an array of numpy, torch, TensorFlow or JAX, of 2 or 3 axes, or of 4 for a batch;
            a path, an http(s) address, a `data:` address or text in base64; or lists of these, at any depth.
        name: what the caller calls `images`.

    Yields:
        Files and addresses as upright RGB pictures (see `load_image`); pictures as they are; arrays as numpy.

    Raises:
        TypeError: something else is among them.
        ValueError: an image cannot be read, or is an array of another shape or kind. The message names it.
    """
    return (opened(*source) for source in flat_sources(images, name))


def flat_sources(images: Any, name: str = "images") -> Iterator[tuple[str, Source]]:
    """As `flat_images`, but files and addresses stay what they are until `opened` reads them."""
    if isinstance(images, (list, tuple)):
        for index, image in enumerate(images):
            yield from flat_sources(image, f"{name}[{index}]")
    elif isinstance(images, (str, Path, Image.Image)):
        yield name, images
    elif framework_of(images) is not None:
        yield from _split(images, name)
    else:
        raise TypeError(
            f"{name} is of type {type(images).__name__}; an image is a PIL.Image.Image, an array of numpy, torch, "
            "TensorFlow or JAX, or a path or address"
        )


def opened(name: str, source: Source) -> tuple[str, Image.Image | np.ndarray]:
    """One of `flat_sources`, as `flat_images` gives it.

    Raises:
        ValueError: the file or address cannot be read.
    """
    if not isinstance(source, (str, Path)):
        return name, source
    with errors_named(name):
        picture = load_image(source)
    return f"{name} ({_shortened(source)})", picture


def load_image(source: str | Path) -> Image.Image:
    """Open a picture by its path or address, upright as its EXIF orientation says, in RGB.

    A picture that the caller opened is left as it lies; only what is opened here is turned, as transformers does.

    Args:
        source: a path, an http(s) address, a `data:` address, or the bytes of a file in base64.

    Raises:
        ImageFileError: nothing is there, or no picture that Pillow can read; the message names it.
    """
    text = str(source)
    if text.startswith(_URL):
        picture = _decoded(_download(text), text)
    elif text.startswith("data:image/"):
        picture = _decoded(_from_base64(text.partition(",")[2]), _shortened(text))
    else:
        # A long text that is no file's may be base64; a Path never is, and is told whole.
        picture = open_image(source) if isinstance(source, Path) else _from_path_or_base64(text)
    return _upright(picture)


def decode_image(content: bytes, name: str) -> Image.Image:
    """A picture from the bytes of its file, upright and in RGB as `load_image` gives it.

    Raises:
        ImageFileError: it is no picture that Pillow can read; the message begins with `name`.
    """
    return _upright(_decoded(content, name))


@contextmanager
def errors_named(name: str) -> Iterator[None]:
    """Turn what can go wrong with an image into a ValueError of one line that begins with the image's name."""
    try:
        yield
    except (OSError, SyntaxError, TypeError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name}: {error}") from error


def _split(images: Any, name: str) -> Iterator[tuple[str, np.ndarray]]:
    with errors_named(name):
        array = to_numpy(images)
        if array.ndim not in {2, 3, 4}:
            raise ValueError(f"an array of shape {array.shape}; an image has 2 or 3 axes, a batch of images 4")
        if array.dtype.kind in _NO_PIXELS and array.dtype.name != "bfloat16":
            raise ValueError(f"an array of {array.dtype}; an image holds numbers")
        if array.size == 0:
            raise ValueError(f"an array of shape {array.shape}, which has no pixels")
    if array.ndim < 4:
        yield name, array
    else:
        yield from ((f"{name}[{index}]", image) for index, image in enumerate(array))


def _from_path_or_base64(text: str) -> Image.Image:
    try:
        return open_image(Path(text))
    except ImageFileError:
        try:
            return _decoded(_from_base64(text), text)
        except ImageFileError:
            pass  # it is no base64 either: most likely it was meant as a path
        if len(text) > _SHOWN_CHARACTERS:
            raise ImageFileError(f"{_shortened(text)}: neither an existing file nor a picture in base64") from None
        raise


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise ImageFileError(f"{_shortened(text)}: not valid base64 ({error})") from error


def _download(url: str) -> bytes:
    import urllib.request

    request = urllib.request.Request(url, headers={"User-Agent": "clip-zoo"})  # noqa: S310  http(s) alone comes here
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as response:  # noqa: S310
            content: bytes = response.read()
    except OSError as error:
        raise ImageFileError(f"{url}: cannot be fetched ({error})") from error
    return content


def _decoded(content: bytes, name: str) -> Image.Image:
    with decoding_errors_named(name):
        picture = Image.open(BytesIO(content))
        picture.load()
    return picture


def _upright(picture: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(picture).convert("RGB")


def _shortened(source: str | Path) -> str:
    text = str(source)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
