"""Image folders, with captions in files beside the images or in a table."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Literal

from clip_core.data.pairs import IndexedPairs, Pair, make_pair
from clip_core.data.tables import TABLE_ENDINGS, read_table
from clip_core.hub.printing import shortened
from clip_core.images.decoding import ImageFileError
from clip_core.images.inputs import find_images

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from clip_core.data.pairs import Broken

Unpaired = Literal["error", "skip"]

_TABLES = tuple(f"metadata{ending}" for ending in TABLE_ENDINGS)
_SHOWN = 5
_logger = logging.getLogger(__name__)


class FolderPairs(IndexedPairs):
    """Pairs whose images are files; see `open_folder` and `open_table`.

    Args:
        pairs: the pairs, in order.
    """

    def __init__(self, pairs: Sequence[Pair | Broken]) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int, /) -> Pair | Broken:
        return self._pairs[index]


def table_in(folder: Path) -> Path | None:
    """Return the path of the folder's metadata.jsonl, .csv or .tsv, or None.

    Raises:
        ValueError: if there are several.
    """
    tables = [folder / name for name in _TABLES if (folder / name).is_file()]
    if len(tables) > 1:
        raise ValueError(f"{folder} contains {' and '.join(table.name for table in tables)}; give the path of one")
    return tables[0] if tables else None


def open_folder(folder: Path, unpaired: Unpaired = "error") -> FolderPairs:
    """Open a folder of images, at any depth, each captioned by the .txt file of the same name: cat.jpg, cat.txt.

    Args:
        folder: the folder.
        unpaired: `"error"`, or `"skip"` to log and leave out images and captions without a counterpart.

    Raises:
        ValueError: if an image has no caption or a caption no image, and `unpaired` is "error".
    """
    images = _images(folder)
    texts = sorted(path for path in folder.rglob("*.txt") if path.is_file())  # not a pipe, which waits for a writer
    captions = {path.with_suffix(""): path for path in texts}
    pairs = [
        Pair(str(image), image, captions[image.with_suffix("")])
        for image in images
        if image.with_suffix("") in captions
    ]
    stems = {image.with_suffix("") for image in images}
    _check_paired(
        folder,
        [str(image.relative_to(folder)) for image in images if image.with_suffix("") not in captions],
        [str(path.relative_to(folder)) for stem, path in captions.items() if stem not in stems],
        unpaired,
        kept=len(pairs),
    )
    return FolderPairs(pairs)


def open_table(
    table: Path, image: str | None = None, caption: str | None = None, unpaired: Unpaired = "error"
) -> FolderPairs:
    """Open the images listed in a table, relative to the table's folder.

    Args:
        table: path to the table; see `clip_core.data.tables.read_table`.
        image: the column of file names.
        caption: the column of captions.
        unpaired: `"error"`, or `"skip"` to log and leave out rows without an image and images without a row.

    Raises:
        ValueError: if the table cannot be read, or something is unpaired and `unpaired` is "error".
    """
    rows = read_table(table, image, caption)
    images = set(_images(table.parent))
    pairs: list[Pair | Broken] = []
    missing: list[str] = []
    for line, name, text in rows:
        path = table.parent / name
        if path in images or os.path.isfile(path):  # noqa: PTH113  unlike the method, False for a name that is too long
            pairs.append(make_pair(f"{table} line {line} ({shortened(name)})", path, text))
        else:
            missing.append(f"{name} (line {line})")
    without = images - {table.parent / row.file_name for row in rows}
    _check_paired(
        table, sorted(str(image.relative_to(table.parent)) for image in without), missing, unpaired, kept=len(pairs)
    )
    return FolderPairs(pairs)


def _images(folder: Path) -> list[Path]:
    try:
        return find_images(str(folder))
    except ImageFileError:
        return []


def _check_paired(where: Path, images: list[str], captions: list[str], unpaired: Unpaired, *, kept: int) -> None:
    """Report all files without a counterpart: their counts, and the first names of each kind.

    Nothing is logged if no pair is kept, which is an error of the caller.
    """
    faults = [
        f"{kind}: {len(names)} ({', '.join(map(shortened, names[:_SHOWN]))}{', ...' * (len(names) > _SHOWN)})"
        for kind, names in (("images without a caption", images), ("captions without an image", captions))
        if names
    ]
    if not faults:
        return
    message = f"{where}: {'; '.join(faults)}"
    if unpaired == "error":
        raise ValueError(f"{message}. Add the missing files, or pass unpaired='skip' to skip them")
    if kept:
        _logger.warning("%s; left out", message)
