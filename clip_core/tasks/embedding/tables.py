"""Parquet files as a source of images: their bytes in a column, or their paths."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from clip_core.data.pairs import LARGEST
from clip_core.data.parquet import open_parquet
from clip_core.data.tables import IMAGE_COLUMNS, image_column
from clip_core.hub.printing import printable, shortened
from clip_core.tasks.embedding.parts import RESERVED
from clip_core.tasks.embedding.pieces import Picture, Piece, Source, reading_errors_named, too_large
from clip_core.tasks.embedding.places import arrow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clip_core.tasks.embedding.pieces import FoundFiles

_AT_ONCE = 64  # rows read at a time, with their images
_FOOTERS = 16  # read in parallel
_PATHS = ("image_path", "path", "file_name")


class TableSource(Source):
    """Parquet files with a column of image bytes, or of paths relative to their folder.

    Args:
        found: the files.
        image: the column of images; None for one of the usual names.
        columns: columns to keep; None for all but embedded images.
        rows: the number of rows in a piece.

    Raises:
        ValueError: if a column is missing, or kept under a name that is taken.
    """

    def __init__(self, found: FoundFiles, image: str | None, columns: Sequence[str] | None, rows: int) -> None:
        first = next(iter(sorted(found.sizes)))
        super().__init__(found.place, found.sizes, {})
        with self._opened(first) as file:
            schema = file.schema_arrow
        where = self.place.shown(first)
        self._image = image_column(schema.names, image, (*IMAGE_COLUMNS, *_PATHS), where)
        kind = schema.field(self._image).type
        types = arrow().types
        is_path = types.is_string(kind) or types.is_large_string(kind)
        if not is_path and not types.is_struct(kind) and not _is_bytes(kind):
            raise ValueError(
                f"{where}: column {self._image!r} holds {kind}; expected bytes, paths, or a struct of bytes and path"
            )
        kept = [name for name in schema.names if is_path or name != self._image] if columns is None else list(columns)
        missing = [name for name in kept if name not in schema.names]
        if missing:
            names = printable(", ".join(map(repr, schema.names)))
            raise ValueError(f"{where}: columns={missing!r} are not in the table; its columns are {names}")
        renamed = [f"source_{name}" if name in RESERVED else name for name in kept]
        if len(set(renamed)) < len(renamed):
            raise ValueError(
                f"{where}: two columns would be kept as {shortened(repr(_repeated(renamed)))}; choose others by "
                "columns=..."
            )
        self._columns = kept
        self._schema = arrow().schema(
            [schema.field(name).with_name(new).remove_metadata() for name, new in zip(kept, renamed, strict=True)]
        )
        self._rows = rows
        self.settings = {"kind": "table", "image_column": self._image, "columns": kept, "rows_per_part": rows}

    def pieces(self) -> list[Piece]:
        """Return runs of rows of the files, the same number in each but the last of a file."""
        with ThreadPoolExecutor(_FOOTERS) as pool:
            counts = list(pool.map(self._count, self.sizes))
        return [
            Piece(
                f"{self.relative(path)}-{start:09}",
                self._version([path]),
                (path,),
                start,
                min(start + self._rows, count),
            )
            for path, count in zip(self.sizes, counts, strict=True)
            for start in range(0, count, self._rows)
        ]

    def pictures(self, piece: Piece) -> Iterator[Picture]:
        """Yield the images of a run of rows."""
        (path,) = piece.paths
        shown = self.place.shown(path)
        number = piece.start
        for batch in self._batches(path, piece.start, piece.stop):
            kept = batch.select(self._columns)  # without the images, which would stay in memory
            for offset, image in enumerate(batch.column(self._image).to_pylist()):
                name, where = f"{self.relative(path)}#{number}", f"{shown}#{number}"
                yield self._picture(name, where, path, image)._replace(row=(kept, offset))
                number += 1

    def schema(self) -> Any:
        """Return the schema of the kept columns."""
        return self._schema

    def table(self, rows: Sequence[tuple[Any, int]]) -> Any:
        """Return the kept columns of rows."""
        starts = [place for place in range(len(rows)) if place == 0 or rows[place][0] is not rows[place - 1][0]]
        taken = [
            rows[start][0].take(arrow().array([offset for _, offset in rows[start:stop]], arrow().int64()))
            for start, stop in pairwise([*starts, len(rows)])
        ]
        columns = [
            arrow().chunked_array([batch.column(name) for batch in taken], field.type)
            for name, field in zip(self._columns, self._schema, strict=True)
        ]
        return arrow().table(columns, schema=self._schema)

    def _picture(self, name: str, where: str, table: str, image: Any) -> Picture:
        if isinstance(image, dict):
            image = image.get("bytes") if image.get("bytes") is not None else image.get("path")
        if isinstance(image, bytes):
            error = too_large(where, len(image)) if len(image) > LARGEST else None
            return Picture(name, where, image if error is None else None, error=error)
        if not isinstance(image, str) or not image:
            return Picture(name, where, error=f"{where}: there is no image")
        path = self._inside(table, image)
        if path is None:
            # An untrusted table must not make this machine open arbitrary files or addresses.
            error = f"{where}: {printable(image)} is not inside the folder of the table"
            return Picture(name, where, error=error)
        return Picture(name, self.place.shown(path), file=path)

    def _inside(self, table: str, image: str) -> str | None:
        """Return the path of an image, relative to its table's folder; None if it is not inside the source's folder."""
        if "://" in image:
            image = str(self.place.files._strip_protocol(image)) if image.startswith(self._protocols) else "/"  # noqa: SLF001
        path = os.path.normpath(os.path.join(table.rpartition("/")[0], image))  # noqa: PTH118  of any file system
        is_inside = path.startswith(f"{self.place.root.rstrip('/')}/")
        if is_inside and self.place.is_local:  # also not through a link
            is_inside = os.path.realpath(path).startswith(f"{os.path.realpath(self.place.root).rstrip('/')}/")
        return path if is_inside else None

    @cached_property
    def _protocols(self) -> tuple[str, ...]:
        return tuple(f"{protocol}://" for protocol in self.place.protocols)

    def _batches(self, path: str, start: int, stop: int) -> Iterator[Any]:
        """Yield rows `start` to `stop` (exclusive) of a file in small batches."""
        with self._opened(path) as file:
            missing = [name for name in (self._image, *self._columns) if name not in file.schema_arrow.names]
            if missing:
                raise ValueError(
                    f"{self.place.shown(path)}: there is no column {shortened(repr(missing[0]))}, as in the first file"
                )
            sizes = [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]
            ends = list(accumulate(sizes))
            groups = [
                n for n, (size, end) in enumerate(zip(sizes, ends, strict=True)) if end > start and end - size < stop
            ]
            if not groups:
                raise ValueError(f"{self.place.shown(path)}: the file changed while it was read")
            row = ends[groups[0]] - sizes[groups[0]]
            columns = list(dict.fromkeys([self._image, *self._columns]))
            for batch in file.iter_batches(_AT_ONCE, row_groups=groups, columns=columns):
                wanted = batch.slice(max(start - row, 0), max(stop - max(start, row), 0))
                row += batch.num_rows
                if wanted.num_rows:
                    yield self._as_in_first(wanted, path)

    def _as_in_first(self, batch: Any, path: str) -> Any:
        """Return a batch whose kept columns have the types of the first file."""
        for name, field in zip(self._columns, self._schema, strict=True):
            kind = batch.schema.field(name).type
            if kind != field.type:
                raise ValueError(
                    f"{self.place.shown(path)}: column {shortened(repr(name))} holds {kind}, and in the first "
                    f"file {field.type}; choose others by columns=..."
                )
        return batch

    def _count(self, path: str) -> int:
        with self._opened(path) as file:
            return int(file.metadata.num_rows)

    @contextmanager
    def _opened(self, path: str) -> Iterator[Any]:
        shown = self.place.shown(path)
        with reading_errors_named(shown), self.place.reading(path) as content:
            yield open_parquet(content)


def _is_bytes(kind: Any) -> bool:
    types = arrow().types
    return any(test(kind) for test in (types.is_binary, types.is_large_binary, types.is_fixed_size_binary))


def _repeated(names: list[str]) -> str:
    return next(name for name in names if names.count(name) > 1)
