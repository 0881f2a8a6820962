"""The kinds of sources: folders of images, WebDataset shards, and Parquet files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clip_core.data.pairs import LARGEST
from clip_core.data.parquet import PARQUET_ENDINGS
from clip_core.data.shards import SHARD_ENDINGS, SHARD_IMAGES, open_shard, shard_samples
from clip_core.hub.printing import valid_text
from clip_core.tasks.embedding.pieces import (
    Picture,
    Piece,
    Source,
    find_files,
    reading_errors_named,
    too_large,
)
from clip_core.tasks.embedding.places import arrow
from clip_core.tasks.embedding.tables import TableSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clip_core.tasks.embedding.pieces import FoundFiles

_TEXTS = ("txt", "json", "cls")  # files of a sample that are kept


def open_source(source: str, *, image: str | None, columns: Sequence[str] | None, rows: int) -> Source:
    """Open a source of images.

    Args:
        source: a folder, a file or a pattern; see `find_files`.
        image: the column of images, or the extension of those in shards; by default one of the usual names.
        columns: columns of a table to keep; None for all but embedded images.
        rows: the number of images in a piece of a folder or table; each shard is one piece.

    Returns:
        The source.

    Raises:
        ValueError: if it contains no images, or lacks a column.
        ImportError: if a library needed to read it is not installed.
    """
    found = find_files(source)
    if found.kind == PARQUET_ENDINGS:
        return TableSource(found, image, columns, rows)
    if columns is not None:
        raise ValueError(f"columns={list(columns)!r}: {source} has no columns; only Parquet files do")
    if found.kind == SHARD_ENDINGS:
        return ShardSource(found, image)
    if image is not None:
        raise ValueError(f"image_column={image!r}: {source} has no columns; its images are files")
    return FolderSource(found, rows)


class FolderSource(Source):
    """A folder of images.

    Args:
        found: its files.
        rows: the number of images in a piece.
    """

    def __init__(self, found: FoundFiles, rows: int) -> None:
        super().__init__(found.place, found.sizes, {"kind": "images", "rows_per_part": rows})
        self._rows = rows

    def pieces(self) -> list[Piece]:
        """Return the pieces: the files in the order of their paths, the same number in each."""
        paths = list(self.sizes)
        parts = [tuple(paths[start : start + self._rows]) for start in range(0, len(paths), self._rows)]
        return [Piece(f"images-{place:06}", self._version(part), part) for place, part in enumerate(parts)]

    def pictures(self, piece: Piece) -> Iterator[Picture]:
        """Yield the images of a piece, to be read from their files."""
        for path in piece.paths:
            name, shown = valid_text(self.relative(path)), valid_text(self.place.shown(path))
            error = None if name == self.relative(path) else f"{shown}: the name of the file is not valid text (UTF-8)"
            yield Picture(name, shown, file=path, error=error)

    def schema(self) -> Any:
        """Return the schema of no columns."""
        return arrow().schema([])

    def table(self, rows: Sequence[Any]) -> Any:  # noqa: ARG002  there are none
        """Return a table of no columns."""
        return arrow().table({})


class ShardSource(Source):
    """WebDataset shards; the texts of a sample are kept.

    Args:
        found: the shards.
        image: the extension of the images; None for any of the usual ones.
    """

    def __init__(self, found: FoundFiles, image: str | None) -> None:
        super().__init__(found.place, found.sizes, {"kind": "shards", "image_column": image})
        self._images = SHARD_IMAGES if image is None else (image.lower(),)

    def pieces(self) -> list[Piece]:
        """Return the shards."""
        return self._whole_files()

    def pictures(self, piece: Piece) -> Iterator[Picture]:
        """Yield the images of a shard."""
        (path,) = piece.paths
        shown = self.place.shown(path)
        seen: set[str] = set()
        with reading_errors_named(shown), self.place.reading(path) as file, open_shard(shown, file) as tar:
            for sample in shard_samples(tar, shown, {*self._images, *_TEXTS}, largest=LARGEST):
                key = valid_text(sample.name)
                name, where = f"{self.relative(path)}/{key}", f"{shown}/{key}"
                image = next((ending for ending in self._images if ending in sample.files), None)
                row = {ending: sample.files[ending] for ending in _TEXTS if ending in sample.files}
                if key in seen:
                    yield Picture(name, where, error=f"{where}: two samples of the shard have this name")
                elif image is None:
                    yield Picture(name, where, error=f"{where}: there is no image")
                elif image in sample.too_large:
                    yield Picture(name, where, error=too_large(where, sample.too_large[image]))
                else:
                    yield Picture(name, where, sample.files[image], row=row)
                seen.add(key)

    def schema(self) -> Any:
        """Return the schema of the texts."""
        return arrow().schema([(name, arrow().string()) for name in _TEXTS])

    def table(self, rows: Sequence[dict[str, bytes]]) -> Any:
        """Return the texts of samples; what is not UTF-8 in them is replaced."""
        columns = {
            name: [row[name].decode(errors="replace") if name in row else None for row in rows] for name in _TEXTS
        }
        return arrow().table(columns, schema=self.schema())
