"""Image inputs: finding image files, and yielding images of any form, one at a time."""

from __future__ import annotations

import base64
import glob
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from clip_core.hub.files import check_no_device
from clip_core.hub.printing import SHOWN_CHARACTERS, reason_of, shortened
from clip_core.hub.targets import expanded
from clip_core.images.decoding import ImageFileError, decode_image, image_endings, open_image, upright
from clip_core.processing.batch import framework_of, to_numpy
from clip_core.processing.frameworks import by_package

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np

    Source = str | Path | Image.Image | np.ndarray


def find_images(pattern: str) -> list[Path]:
    """Return the sorted image files behind a path: the file itself, all files in a folder tree, or a glob's matches.

    Args:
        pattern: a file, a folder or a glob.

    Raises:
        ImageFileError: if the path is missing or inaccessible, or a folder or glob contains no images.
    """
    if not pattern.strip():
        raise ImageFileError("an image path is empty; give a file, a folder or a glob")
    try:
        return _found(expanded(pattern), pattern)
    except OSError as error:
        raise ImageFileError(f"{pattern}: {reason_of(error)}") from error


def _found(path: Path, pattern: str) -> list[Path]:
    if path.is_file():
        return [path]
    if path.is_dir():
        next(path.iterdir(), None)  # raises an error where rglob finds nothing, in a folder that cannot be read
        found = _image_files(path.rglob("*"))
        if not found:
            raise ImageFileError(f"{pattern}: the folder contains no images")
        return found
    if not glob.has_magic(pattern):
        try:
            check_no_device(path)
        except ValueError as error:
            raise ImageFileError(str(error)) from error
        raise ImageFileError(f"{pattern}: no such file or folder")
    matches = [Path(match) for match in glob.glob(str(path), recursive=True)]  # noqa: PTH207  it may be absolute
    found = _image_files([*matches, *(inner for match in matches if match.is_dir() for inner in match.rglob("*"))])
    if not found:
        raise ImageFileError(f"{pattern}: no image matches this pattern")
    return found


def _image_files(paths: Iterable[Path]) -> list[Path]:
    """Return the sorted image files among the paths. A file reached through several folder links counts once."""
    files = {path for path in paths if path.suffix.lower() in image_endings() and path.is_file()}
    by_place: dict[Path, Path] = {}
    for path in sorted(files, key=lambda path: (len(path.parts), path)):
        by_place.setdefault(path.parent.resolve() / path.name, path)  # a link to a file counts separately
    return sorted(by_place.values())


_URL = ("http://", "https://")
_NO_PIXELS = "OSUVMmc"  # numpy dtype kinds: object, string, bytes, void, timedelta, datetime, complex
_SECONDS, _LARGEST_DOWNLOAD = 60.0, 2**28


def flat_sources(images: Any, name: str = "images") -> Iterator[tuple[str, Source]]:
    """Yield all images of a call in order, each with the name used in messages, such as "images[2]".

    Args:
        images: a PIL image; an array of numpy or of a backend's framework with 2 or 3 axes, or 4 for a batch; a path,
            an http(s) URL, a `data:` URL or base64 text; or lists of these, at any depth.
        name: the caller's name for `images`.

    Yields:
        Arrays as numpy; PIL images, paths, URLs and base64 text unchanged, the latter for `opened` to read.

    Raises:
        TypeError: if one of them is anything else.
        ValueError: if an array has another shape or kind. The message names it.
    """
    if isinstance(images, (list, tuple)):
        for index, image in enumerate(images):
            yield from flat_sources(image, f"{name}[{index}]")
    elif isinstance(images, (str, Path, Image.Image)):
        yield name, images
    elif framework_of(images) is not None:
        yield from _split(images, name)
    else:
        raise TypeError(
            f"{name} is of type {type(images).__name__}; expected a PIL.Image.Image, a path, a URL, or an array of "
            f"{', '.join(sorted(by_package()))}"
        )


def opened(name: str, source: Source) -> tuple[str, Image.Image | np.ndarray]:
    """Open an item of `flat_sources`: a file or URL as an upright RGB image (see `load_image`), under a longer name.

    Args:
        name: the image's name in messages.
        source: the image, path or URL; a PIL image or an array is returned unchanged.

    Raises:
        ValueError: if the file or URL cannot be read.
    """
    if not isinstance(source, (str, Path)):
        return name, source
    with errors_named(name):
        image = load_image(source)
    return f"{name} ({shortened(source)})", image


def load_image(source: str | Path) -> Image.Image:
    """Load an image by path or URL as upright RGB, rotated by its EXIF orientation.

    Only images opened here are rotated, as in transformers; images that the caller opened are not. Of an animation, the
    first frame is taken. Transparency is dropped, as in transformers. Grey images of more than 8 bits are scaled to 8;
    see `clip_core.images.depth`.

    Args:
        source: a path, an http(s) URL, a `data:` URL, or the bytes of a file in base64.

    Raises:
        ImageFileError: if the source is missing or Pillow cannot read it; the message names it.
    """
    text = str(source)
    if text.startswith(_URL):
        return decode_image(_download(text), text)
    if text.startswith("data:image/"):
        return decode_image(_from_base64(text.partition(",")[2]), shortened(text))
    # A long string that is not an existing path may be base64. A Path is never base64, and is quoted in full.
    return upright(open_image(source), text) if isinstance(source, Path) else _from_path_or_base64(text)


def fetch_images(image_url_or_urls: Any) -> Any:
    """Load images by path or URL as `load_image` does; images already loaded are returned unchanged.

    Args:
        image_url_or_urls: one, or a list, possibly nested.

    Returns:
        The image, or a list of the same structure.

    Raises:
        TypeError: if an item is not an image.
        ImageFileError: if an image cannot be read; the message names it.
    """
    if isinstance(image_url_or_urls, (list, tuple)):
        return [fetch_images(one) for one in image_url_or_urls]
    if isinstance(image_url_or_urls, (str, Path)):
        return load_image(image_url_or_urls)
    next(flat_sources(image_url_or_urls, "the image"))  # refuse anything else
    return image_url_or_urls


@contextmanager
def errors_named(name: str) -> Iterator[None]:
    """Turn any error about an image into a one-line ValueError that starts with the image's name.

    Args:
        name: the image's name in the message.
    """
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
            raise ValueError(f"an array of {array.dtype}; expected numbers")
        if array.size == 0:
            raise ValueError(f"an array of shape {array.shape}, which has no pixels")
    if array.ndim < 4:
        yield name, array
    else:
        yield from ((f"{name}[{index}]", image) for index, image in enumerate(array))


def _from_path_or_base64(text: str) -> Image.Image:
    try:
        return upright(open_image(Path(text)), shortened(text))
    except ImageFileError:
        try:
            return decode_image(_from_base64(text), text)
        except ImageFileError:
            pass  # not base64 either: most likely a path
        if len(text) > SHOWN_CHARACTERS:
            raise ImageFileError(f"{shortened(text)}: neither an existing file nor a base64 image") from None
        raise


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise ImageFileError(f"{shortened(text)}: not valid base64 ({error})") from error


def _download(url: str) -> bytes:
    import urllib.request

    request = urllib.request.Request(url, headers={"User-Agent": "clip-zoo"})  # noqa: S310  only http(s) URLs get here
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as response:  # noqa: S310
            content: bytes = response.read(_LARGEST_DOWNLOAD)
    except OSError as error:
        raise ImageFileError(f"{url}: could not be downloaded ({error})") from error
    return content
