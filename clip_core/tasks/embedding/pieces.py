"""A source of images, and the pieces that it is divided into: each is read, encoded and written as one part."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from clip_core.data.pairs import LARGEST
from clip_core.data.parquet import PARQUET_ENDINGS
from clip_core.data.shards import SHARD_ENDINGS
from clip_core.data.sources import expand_braces
from clip_core.hub.files import check_no_device
from clip_core.hub.printing import printable, reason_of
from clip_core.images.decoding import image_endings
from clip_core.images.inputs import find_images
from clip_core.tasks.embedding.places import Location, arrow
from clip_core.tasks.search.reading import time_of_change

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_PATTERN = re.compile(r"[*?\[{]")
_SLUG = 40  # characters


@dataclass(frozen=True)
class Piece:
    """A piece of a source.

    Attributes:
        name: its name, unique in the source and the same in every run.
        version: a hash of the sizes of its files.
        paths: its files, in the file system of the source.
        start: the first row, for a piece of a table.
        stop: the row after its last.
    """

    name: str
    version: str
    paths: tuple[str, ...]
    start: int = 0
    stop: int = 0

    @property
    def key(self) -> str:
        """The name as a part of a file name, shortened, with a hash that keeps it unique."""
        readable = re.sub(r"\W+", "-", self.name, flags=re.ASCII).strip("-")[-_SLUG:].strip("-")
        return f"{readable}-{_hash(self.name)}"

    @property
    def file(self) -> str:
        """The name of its part."""
        return f"{self.key}-{self.version}.parquet"


class Picture(NamedTuple):
    """An image of a source.

    Attributes:
        id: its name, unique in the source.
        path: the file or the place in one, as messages name it.
        content: the bytes of its file; None if it still has to be read from `file`, or if there is an error.
        file: its file, in the file system of the source.
        error: the reason that it cannot be read; None without one.
        row: what the source has beside it; its class knows the form.
    """

    id: str
    path: str
    content: bytes | None = None
    file: str | None = None
    error: str | None = None
    row: Any = None


class Source(ABC):
    """A source of images.

    Args:
        place: its file system, and the folder to which the ids are relative.
        sizes: the bytes of each of its files, by path.
        settings: the settings that decide its pieces and columns, for the manifest.
    """

    def __init__(self, place: Location, sizes: Mapping[str, int], settings: Mapping[str, Any]) -> None:
        self.place = place
        self.sizes = dict(sorted(sizes.items()))
        self.settings = dict(settings)

    @abstractmethod
    def pieces(self) -> list[Piece]:
        """Return the pieces, in order."""

    @abstractmethod
    def pictures(self, piece: Piece) -> Iterator[Picture]:
        """Yield the images of a piece, in order.

        Args:
            piece: the piece.

        Raises:
            ValueError: if its file cannot be read; the message names it.
        """

    @abstractmethod
    def schema(self) -> Any:
        """Return the schema of the columns that the source has beside the images, a `pyarrow.Schema`."""

    @abstractmethod
    def table(self, rows: Sequence[Any]) -> Any:
        """Return these columns, a `pyarrow.Table` of the schema.

        Args:
            rows: the rows of pictures, as `Picture.row` has them.
        """

    def relative(self, path: str) -> str:
        """Return a path of the source relative to its folder.

        Args:
            path: the path.
        """
        return path.removeprefix(self.place.root).lstrip("/")

    def read(self, picture: Picture) -> tuple[bytes, int | None]:
        """Return the bytes of an image's file, and when it was changed, in nanoseconds; None if that is not known.

        Args:
            picture: the picture.

        Raises:
            ValueError: if it is known to be unreadable, or is too large.
            OSError: if its file cannot be read.
        """
        if picture.error is not None:
            raise ValueError(picture.error)
        if picture.content is not None:
            return picture.content, None
        changed = None
        path = picture.file or ""
        if self.place.is_local:
            check_no_device(path)
            with Path(path).open("rb") as file:
                changed = time_of_change(os.fstat(file.fileno()))
                content = file.read(LARGEST + 1)
        else:
            content = self.place.files.cat_file(path, start=0, end=LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError(too_large(picture.path))
        return content, changed

    def _version(self, paths: Sequence[str]) -> str:
        return _hash("\n".join(f"{self.relative(path)}\t{self.sizes[path]}" for path in paths))[:8]

    def _whole_files(self) -> list[Piece]:
        return [Piece(self.relative(path), self._version([path]), (path,)) for path in self.sizes]


def too_large(name: str, size: int | None = None) -> str:
    """Return the reason that a file is not read.

    Args:
        name: the file.
        size: its bytes, if known.
    """
    return f"{name}: too large{'' if size is None else f', {size:,} bytes'}; at most {LARGEST:,} bytes are read"


@contextmanager
def reading_errors_named(name: str) -> Iterator[None]:
    """Turn errors of reading a file into a ValueError that names it.

    Args:
        name: the file, as messages name it.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise ValueError(f"{name}: no such file") from error
    except PermissionError as error:
        raise ValueError(f"{name}: {reason_of(error)}") from error
    except (OSError, ValueError, arrow().ArrowException) as error:
        told = printable(error)
        raise ValueError(told if told.startswith(name) else f"{name}: cannot be read ({told})") from error


class FoundFiles(NamedTuple):
    """The files of a source.

    Attributes:
        place: the file system, and the folder that contains all of them.
        sizes: the bytes of each file, by path.
        kind: the endings that all of them have; empty for images.
    """

    place: Location
    sizes: dict[str, int]
    kind: tuple[str, ...]


def find_files(source: str) -> FoundFiles:
    """Find the files of a source.

    Args:
        source: a folder, a file, or a pattern such as "train-{000..099}.tar" or "*.parquet"; local, or any URL of
            fsspec.

    Raises:
        ValueError: if there are none, or they are of several kinds.
        ImportError: if the URL needs a package that is not installed.
    """
    place = Location.open(source)
    if not place.files.exists(place.root) and _PATTERN.search(source):
        return _matching(source)
    try:
        if not place.files.isdir(place.root):
            information = place.files.info(place.root)
            parent = Location(place.files, place.root.rpartition("/")[0])
            return FoundFiles(parent, {place.root: _size(information)}, _kind(place.root, source))
        top = {one["name"]: one for one in place.files.ls(place.root, detail=True) if one["type"] != "directory"}
    except FileNotFoundError:
        raise ValueError(f"{source}: no such file or folder") from None
    tables = {path: _size(one) for path, one in top.items() if _endings_of(path)}
    kinds = {_endings_of(path) for path in tables}
    if len(kinds) > 1:
        raise ValueError(f"{source} contains .tar shards and .parquet files; give a pattern for one kind")
    if kinds:
        return FoundFiles(place, tables, kinds.pop())
    return FoundFiles(place, _images_in(place, source), ())


def _images_in(place: Location, source: str) -> dict[str, int]:
    if place.is_local:
        return {os.fspath(path): path.stat().st_size for path in find_images(place.root)}
    found = place.files.find(place.root, detail=True)
    images = {path: _size(one) for path, one in found.items() if _is_image(path)}
    if not images:
        raise ValueError(f"{source}: the folder contains no images")
    return images


def _is_image(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in image_endings()  # noqa: PTH122  of any file system


def _matching(source: str) -> FoundFiles:
    sizes: dict[str, int] = {}
    for one in expand_braces(source):
        place = Location.open(one)
        if glob.has_magic(one):
            found = place.files.glob(place.root, detail=True)
        else:
            try:
                found = {place.root: place.files.info(place.root)}
            except FileNotFoundError:
                raise ValueError(f"{one}: no such file") from None
        sizes |= {path: _size(information) for path, information in found.items() if information["type"] == "file"}
    kinds = {_kind(path, source) for path in sizes}
    if not kinds:
        raise ValueError(f"{source}: no file matches this pattern")
    if len(kinds) > 1:
        raise ValueError(f"{source} matches files of several kinds; give a pattern for one")
    pattern = Location.open(source).root
    fixed = pattern[: match.start()] if (match := _PATTERN.search(pattern)) else pattern
    return FoundFiles(Location(place.files, fixed.rpartition("/")[0]), sizes, kinds.pop())


def _kind(path: str, source: str) -> tuple[str, ...]:
    """Return the endings of a file's kind; empty for an image."""
    endings = _endings_of(path)
    if not endings and not _is_image(path):
        told = f"{source} matches {path.rpartition('/')[2]}, which" if glob.has_magic(source) else source
        raise ValueError(f"{told} is not a source of images; give a folder of images, .tar shards or .parquet files")
    return endings


def _endings_of(path: str) -> tuple[str, ...]:
    name = path.lower()
    return next((endings for endings in (SHARD_ENDINGS, PARQUET_ENDINGS) if name.endswith(endings)), ())


def _size(information: Mapping[str, Any]) -> int:
    return int(information.get("size") or 0)


def _hash(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:16]
