"""Finding and opening picture files."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterable


class ImageFileError(ValueError):
    """A picture is not there or cannot be read; the message names it and is one line."""


def find_images(pattern: str) -> list[Path]:
    """The picture files that a path stands for, sorted: a file itself, a folder's at any depth, or a glob's matches.

    Raises:
        ImageFileError: nothing is there, or a folder or glob holds no picture.
    """
    path = Path(pattern)
    if path.is_file():
        return [path]
    if path.is_dir():
        found = _pictures(path.rglob("*"))
        if not found:
            raise ImageFileError(f"{pattern}: the folder holds no pictures")
        return found
    if not glob.has_magic(pattern):
        raise ImageFileError(f"{pattern}: no such file or folder")
    matches = [Path(match) for match in glob.glob(pattern, recursive=True)]  # noqa: PTH207  it may be absolute
    found = _pictures([*matches, *(inner for match in matches if match.is_dir() for inner in match.rglob("*"))])
    if not found:
        raise ImageFileError(f"{pattern}: no picture matches")
    return found


def open_image(path: Path) -> Image.Image:
    """Open a picture and decode it.

    Raises:
        ImageFileError: it is missing, or no picture, or damaged.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError as error:
        raise ImageFileError(f"{path}: no such file") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow's messages end in the path or an object's address; ours begins with the path.
        reason = (
            "not a picture that Pillow can read" if "cannot identify" in str(error) else f"broken picture ({error})"
        )
        raise ImageFileError(f"{path}: {reason}") from error


def _pictures(paths: Iterable[Path]) -> list[Path]:
    endings = Image.registered_extensions()
    return sorted({path for path in paths if path.suffix.lower() in endings and path.is_file()})
