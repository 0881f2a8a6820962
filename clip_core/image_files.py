"""Finding and opening picture files."""

from __future__ import annotations

import glob
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Formats that Pillow knows by their name alone: without a plug-in for it, every such file would count as broken.
_NAMES_ALONE = frozenset({"BUFR", "GRIB", "HDF5", "MPEG"})


class ImageFileError(ValueError):
    """A picture is not there or cannot be read; the message names it and is one line."""


def find_images(pattern: str) -> list[Path]:
    """The picture files that a path stands for, sorted: a file itself, a folder's at any depth, or a glob's matches.

    Raises:
        ImageFileError: nothing is there or can be looked at, or a folder or glob holds no picture.
    """
    if not pattern.strip():
        raise ImageFileError("a picture's name is empty; give a file, a folder or a glob")
    try:
        return _found(Path(pattern).expanduser(), pattern)
    except OSError as error:
        raise ImageFileError(f"{pattern}: {error.strerror or error}") from error


def _found(path: Path, pattern: str) -> list[Path]:
    if path.is_file():
        return [path]
    if path.is_dir():
        found = _pictures(path.rglob("*"))
        if not found:
            raise ImageFileError(f"{pattern}: the folder holds no pictures")
        return found
    if not glob.has_magic(pattern):
        raise ImageFileError(f"{pattern}: no such file or folder")
    matches = [Path(match) for match in glob.glob(str(path), recursive=True)]  # noqa: PTH207  it may be absolute
    found = _pictures([*matches, *(inner for match in matches if match.is_dir() for inner in match.rglob("*"))])
    if not found:
        raise ImageFileError(f"{pattern}: no picture matches")
    return found


def open_image(path: Path) -> Image.Image:
    """Open a picture and decode it.

    Raises:
        ImageFileError: it is missing, or no picture, or damaged.
    """
    with decoding_errors_named(str(path)), Image.open(path) as image:
        image.load()
        return image


@contextmanager
def decoding_errors_named(name: str) -> Iterator[None]:
    """Turn whatever opening and decoding a picture raises into an ImageFileError that begins with `name`."""
    try:
        yield
    except FileNotFoundError as error:
        raise ImageFileError(f"{name}: no such file") from error
    except UnidentifiedImageError as error:
        # Pillow's message ends in the path or an object's address; ours begins with the path.
        raise ImageFileError(f"{name}: not a picture that Pillow can read") from error
    except Exception as error:  # each of Pillow's decoders raises what it likes on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageFileError(f"{name}: broken picture ({reason})") from error


def _pictures(paths: Iterable[Path]) -> list[Path]:
    """The pictures among files and folders, sorted; one that links lead to by several ways counts once."""
    endings = {
        ending
        for ending, format_ in Image.registered_extensions().items()
        if format_ in Image.OPEN and format_ not in _NAMES_ALONE
    }
    files = {path for path in paths if path.suffix.lower() in endings and path.is_file()}
    by_place: dict[Path, Path] = {}
    for path in sorted(files, key=lambda path: (len(path.parts), path)):
        by_place.setdefault(path.parent.resolve() / path.name, path)  # a link to a file has a name of its own
    return sorted(by_place.values())
