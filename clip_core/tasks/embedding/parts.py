"""The parts of a dataset: Parquet files, each with the embeddings of one piece of the source, or with its failures."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from clip_core.data.parquet import open_parquet
from clip_core.tasks.embedding.pieces import reading_errors_named
from clip_core.tasks.embedding.places import arrow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from clip_core.tasks.embedding.pieces import Picture, Piece, Source
    from clip_core.tasks.embedding.places import Location
    from clip_core.tasks.search.rows import IndexedImage

EMBEDDINGS, FAILED = "embeddings", "failed"  # the subfolders of a dataset
# Columns that every part has; one of the source with such a name is kept as "source_...".
RESERVED = (
    "id", "embedding", "path", "size", "modified", "taken", "sha256", "pixels_sha256", "width", "height",
)  # fmt: skip
_FLUSH = 1024  # rows in memory at a time
_SHOWN = 5  # failures of a part whose reasons are reported
_HASH = 32  # bytes


class PartResult(NamedTuple):
    """The result of embedding one piece of a source.

    Attributes:
        piece: the name of the piece.
        images: the number of images embedded.
        failed: the number of images that could not be read.
        reasons: the id and the reason of the first few images that could not be read.
        error: why the part could not be written; None if it was.
        path: the file of the part.
        seconds: the time taken, including reading and writing.
    """

    piece: str
    images: int = 0
    failed: int = 0
    reasons: tuple[tuple[str, str], ...] = ()
    error: str | None = None
    path: str = ""
    seconds: float = 0.0


def part_schema(source: Any, dim: int, dtype: str) -> Any:
    """Return the schema of the embeddings, a `pyarrow.Schema`.

    Args:
        source: the schema of the columns that the source has.
        dim: the width of an embedding.
        dtype: "float32" or "float16".
    """
    pa = arrow()
    item = pa.float16() if dtype == "float16" else pa.float32()
    kinds = (
        pa.string(), pa.list_(pa.field("element", item, nullable=False), dim), pa.string(), pa.int64(),
        pa.timestamp("ns", "UTC"), pa.string(), pa.binary(_HASH), pa.binary(_HASH), pa.int32(), pa.int32(),
    )  # fmt: skip
    own = [pa.field(name, kind, nullable=False) for name, kind in zip(RESERVED, kinds, strict=True)]
    nullable = {"modified", "taken"}
    return pa.schema([field.with_nullable(field.name in nullable) for field in own] + list(source))


def sizes_in_part(place: Location, file: str) -> dict[str, int | None]:
    """Return the images of a part: the bytes of each by its id, and None for those that could not be read.

    Args:
        place: the dataset.
        file: the name of the part.

    Raises:
        ValueError: if the part is damaged.
    """
    sizes: dict[str, int | None] = {}
    for folder, columns in ((FAILED, ["id"]), (EMBEDDINGS, ["id", "size"])):
        name = f"{folder}/{file}"
        if file in place.names(folder):
            with reading_errors_named(name), place.reading(place.path(name)) as opened:
                rows = open_parquet(opened).read(columns=columns).to_pylist()
            sizes |= {str(row.get("id")): row.get("size") for row in rows}
    return sizes


class PartWriter:
    """Writer of the part of one piece. The part appears, complete, when `finish` is called.

    Args:
        place: the dataset.
        source: the source of the images.
        piece: the piece.
        dtype: dtype of the embeddings, "float32" or "float16".
    """

    def __init__(self, place: Location, source: Source, piece: Piece, dtype: str) -> None:
        self._place, self._source, self._piece, self._dtype = place, source, piece, dtype
        self._files: dict[str, _PartFile] = {}  # by subfolder
        self._pictures: list[tuple[Picture, IndexedImage]] = []
        self._embeds: list[np.ndarray] = []
        self._failures: list[tuple[str, str, str]] = []
        self.images = self.failed = 0
        self.reasons: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack = ExitStack()
        for file in self._files.values():
            stack.push(file.discard)
        stack.__exit__(kind, error, trace)

    def add(self, pictures: Sequence[tuple[Picture, IndexedImage]], embeds: np.ndarray) -> None:
        """Add images.

        Args:
            pictures: the images with the facts about them.
            embeds: their embeddings, `(images, dim)`.
        """
        self.images += len(pictures)
        self._pictures += pictures
        self._embeds.append(embeds)
        if len(self._pictures) >= _FLUSH:
            self._flush()

    def fail(self, picture: Picture, reason: str) -> None:
        """Add an image that could not be read.

        Args:
            picture: the image.
            reason: the reason.
        """
        self.failed += 1
        if len(self.reasons) < _SHOWN:
            self.reasons.append((picture.id, reason))
        self._failures.append((picture.id, picture.path, reason))
        if len(self._failures) >= _FLUSH:
            self._flush_failures()

    def finish(self, dim: int) -> PartResult:
        """Write the part, after the table of its failures: the part is the sign that its piece is done.

        Args:
            dim: the width of an embedding.
        """
        self._flush_failures()
        if self._pictures or EMBEDDINGS not in self._files:
            self._embeds.append(np.empty((0, dim), np.float32))
            self._flush()
        failures = self._files.pop(FAILED, None)
        if failures is None:
            self._place.remove(f"{FAILED}/{self._piece.file}")  # left by an interrupted run
        else:
            failures.publish()
        self._files.pop(EMBEDDINGS).publish()
        path = self._place.shown(self._place.path(f"{EMBEDDINGS}/{self._piece.file}"))
        return PartResult(self._piece.name, self.images, self.failed, tuple(self.reasons), None, path)

    def _flush(self) -> None:
        embeds = np.concatenate(self._embeds)
        pictures, rows = [one for one, _ in self._pictures], [row for _, row in self._pictures]
        self._pictures, self._embeds = [], []
        pa = arrow()
        kept = self._source.table([picture.row for picture in pictures])
        schema = part_schema(self._source.schema(), embeds.shape[1], self._dtype)
        values = np.ascontiguousarray(embeds, self._dtype).reshape(-1)
        columns = [
            pa.array([picture.id for picture in pictures], pa.string()),
            pa.FixedSizeListArray.from_arrays(pa.array(values), type=schema.field("embedding").type),
            pa.array([picture.path for picture in pictures], pa.string()),
            *(
                pa.array(values, schema.field(name).type)
                for name, values in zip(RESERVED[3:], _facts(rows), strict=True)
            ),
            *kept.columns,
        ]
        self._write(EMBEDDINGS, pa.table(columns, schema=schema))

    def _flush_failures(self) -> None:
        if not self._failures:
            return
        pa = arrow()
        schema = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("id", "path", "reason")])
        columns = [pa.array(values, pa.string()) for values in zip(*self._failures, strict=True)]
        self._failures = []
        self._write(FAILED, pa.table(columns, schema=schema))

    def _write(self, folder: str, table: Any) -> None:
        if folder not in self._files:
            self._files[folder] = _PartFile(self._place, f"{folder}/{self._piece.file}", table.schema)
        self._files[folder].write(table)


class _UnfinishedError(Exception):
    """A signal to discard an unfinished file."""


class _PartFile:
    """A Parquet file that is being written; it appears under its name when it is published.

    Args:
        place: the dataset.
        name: the name of the file in it.
        schema: the schema.
    """

    def __init__(self, place: Location, name: str, schema: Any) -> None:
        from pyarrow import parquet

        # Embeddings do not repeat, and a dictionary of them would only take time.
        repeating = [field.name for field in schema if field.name != "embedding"]
        with ExitStack() as stack:
            path = stack.enter_context(place.written_whole(name))
            writer = parquet.ParquetWriter(path, schema, compression="zstd", use_dictionary=repeating)
            self._writer = stack.enter_context(writer)
            self._stack = stack.pop_all()

    def write(self, table: Any) -> None:
        self._writer.write_table(table)

    def publish(self) -> None:
        self._stack.close()

    def discard(self, _: object, error: BaseException | None, trace: TracebackType | None) -> None:
        """Delete the file; if the disk is full, raise an error that names it."""
        error = error or _UnfinishedError()
        self._stack.__exit__(type(error), error, trace)


def _facts(rows: Sequence[IndexedImage]) -> list[list[Any]]:
    """Return the columns of facts about images, in the order of `RESERVED`."""
    return [
        [row.size for row in rows],
        [row.changed or None for row in rows],
        [row.taken or None for row in rows],
        [row.file for row in rows],
        [row.pixels for row in rows],
        [row.width for row in rows],
        [row.height for row in rows],
    ]
