"""Parquet files with embedded image bytes, read with pyarrow."""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from clip_core.data.pairs import Broken, Pair, StreamedPairs, make_pair
from clip_core.data.tables import IMAGE_COLUMNS, caption_column, class_names, image_column, named
from clip_core.hub.pointers import check_not_lfs_pointer
from clip_core.hub.printing import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PARQUET_ENDINGS = (".parquet",)

_ROWS = 256  # held in memory at a time
_ROWS_OF_A_BYTE, _MORE_ROWS = 64, 2**20  # a group of pyarrow has at most 2**20 rows, in few bytes if all are equal


class _Group(NamedTuple):
    """A row group of a file, read as one shard."""

    path: Path
    number: int
    first_row: int
    size: int
    columns: tuple[str, str]
    class_names: list[str]


class ParquetPairs(StreamedPairs):
    """Pairs in Parquet files; each row group is a shard.

    Args:
        files: paths of the files.
        image: the column of images: bytes, or a struct of `bytes` and `path` as the `datasets` library writes it;
            "image" by default.
        caption: the column of captions: texts, or lists of them; "text" or "caption" by default. A class-label column
            of the `datasets` library yields the class names.

    Raises:
        ImportError: if pyarrow is not installed.
        ValueError: if a file cannot be read, or lacks a column.
    """

    def __init__(self, files: Sequence[Path], image: str | None = None, caption: str | None = None) -> None:
        self._groups = [group for file in files for group in _groups(file, image, caption)]

    @cached_property
    def sizes(self) -> list[int]:
        """The number of rows in each row group."""
        return [group.size for group in self._groups]

    def read(self, shard: int, start: int, stop: int) -> Iterator[Pair | Broken]:
        """Yield rows `start` to `stop` (exclusive) of a row group.

        Raises:
            ValueError: if the file cannot be read.
        """
        group = self._groups[shard]
        image, caption = group.columns
        row = 0
        with _opened(group.path) as file:
            batches = file.iter_batches(batch_size=_ROWS, row_groups=[group.number], columns=list(group.columns))
            while row < stop:
                batch = _next(batches, group, row)
                wanted = batch.slice(max(start - row, 0), max(stop - max(start, row), 0))
                number = max(start, row)
                for offset, content in enumerate(_values(wanted, group, number)):
                    key = f"{group.path} row {group.first_row + number + offset}"
                    text = named(content[caption], group.class_names)
                    yield make_pair(key, content[image], text, folder=group.path.parent)
                row += batch.num_rows


def open_parquet(source: Path | IO[bytes]) -> Any:
    """Open a Parquet file, and check the numbers of rows that it states.

    pyarrow believes them: at a negative number its C++ code ends the process if none of the columns to read exists, and
    a large one takes as much time and memory as it likes.

    Args:
        source: a path or an open file.

    Returns:
        A `pyarrow.parquet.ParquetFile`.

    Raises:
        ImportError: if pyarrow is not installed.
        ValueError: if the numbers are impossible.
        OSError: if it is not a Parquet file. pyarrow may also raise an `ArrowException`.
    """
    parquet = _parquet()
    size = source.stat().st_size if isinstance(source, Path) else source.seek(0, os.SEEK_END)
    file = parquet.ParquetFile(source)
    rows = [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]
    stated, most = file.metadata.num_rows, _ROWS_OF_A_BYTE * size + _MORE_ROWS
    if min(rows, default=0) >= 0 and sum(rows) == stated <= most:
        return file
    file.close()
    if stated > most:
        raise ValueError(f"it states {stated:,} rows; {size:,} bytes hold at most {most:,}")
    raise ValueError(f"it states {stated:,} rows, but its row groups state {printable(rows)}")


def _groups(path: Path, image: str | None, caption: str | None) -> Iterator[_Group]:
    with _opened(path) as file:
        there = file.schema_arrow.names
        columns = (
            image_column(there, image, IMAGE_COLUMNS, str(path)),
            caption_column(there, caption, str(path)),
        )
        names = _class_names(file.schema_arrow.metadata or {}, columns[1])
        first_row = 0
        for number in range(file.metadata.num_row_groups):
            size = file.metadata.row_group(number).num_rows
            yield _Group(path, number, first_row, size, columns, names)
            first_row += size


def _class_names(metadata: dict[bytes, bytes], column: str) -> list[str]:
    """Return a column's class names from the schema metadata that `datasets` writes."""
    try:
        return class_names(json.loads(metadata[b"huggingface"])["info"]["features"].get(column))
    except (AttributeError, KeyError, TypeError, ValueError):  # written by another library
        return []


def _opened(path: Path) -> Any:
    _parquet()  # the errors below need it
    try:
        return open_parquet(path)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file") from error
    except PermissionError as error:
        raise ValueError(f"{path}: permission denied") from error
    except _unreadable() as error:
        check_not_lfs_pointer(path)
        raise ValueError(f"{path}: not a readable Parquet file, or truncated ({printable(error)})") from error


def _next(batches: Iterator[Any], group: _Group, row: int) -> Any:
    try:
        return next(batches)
    except StopIteration as error:
        raise ValueError(f"{group.path} row {group.first_row + row}: missing, although the file states it") from error
    except _unreadable() as error:
        raise ValueError(f"{group.path} row {group.first_row + row}: cannot be read ({printable(error)})") from error


def _values(batch: Any, group: _Group, row: int) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = batch.to_pylist()
    except _unreadable() as error:  # a text that is not UTF-8, or a time beyond Python's
        raise ValueError(f"{group.path} row {group.first_row + row}: cannot be read ({printable(error)})") from error
    return rows


def _unreadable() -> tuple[type[Exception], ...]:
    """Return the errors of pyarrow, most of which are also a ValueError or an OSError, and of converting its values."""
    from pyarrow import ArrowException

    return (OSError, ValueError, OverflowError, ArrowException)


def _parquet() -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError("Parquet files need pyarrow; pip install 'clip-zoo[train]'") from error
    return parquet
