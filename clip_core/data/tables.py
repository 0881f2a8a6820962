"""Tables of file names and captions (JSON lines, CSV and TSV), and the roles of their columns."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from clip_core.hub.pointers import check_not_lfs_pointer
from clip_core.hub.printing import counted, printable, reason_of, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


FILE_COLUMNS = ("file_name",)
IMAGE_COLUMNS = ("image", "img", "jpg", "png", "webp", "image_bytes")
CAPTION_COLUMNS = ("text", "caption", "captions", "txt")


def image_column(there: Iterable[str], given: str | None, usual: tuple[str, ...], where: str) -> str:
    """Return the image column: the given one, or the first of the usual names present.

    Args:
        there: the table's columns.
        given: the caller's choice, if any.
        usual: names to look for.
        where: the table, for messages.

    Raises:
        ValueError: if the column is missing; the message lists the columns present.
    """
    return _column(there, given, usual, where, "image")


def caption_column(there: Iterable[str], given: str | None, where: str) -> str:
    """Return the caption column.

    Args:
        there: the table's columns.
        given: the caller's choice, if any.
        where: the table, for messages.

    Raises:
        ValueError: as in `image_column`.
    """
    return _column(there, given, CAPTION_COLUMNS, where, "caption")


def class_names(feature: Any) -> list[str]:
    """Return the class names of a class-label column; empty for any other column.

    Args:
        feature: a `datasets.ClassLabel`, its serialized form, or anything else.
    """
    names = feature.get("names") if isinstance(feature, Mapping) else getattr(feature, "names", None)
    return list(names) if isinstance(names, (list, tuple)) else []


def named(value: Any, names: list[str]) -> Any:
    """Return the name of a class index; any other value is returned unchanged.

    Args:
        value: a cell of the column.
        names: the class names, by index.
    """
    is_class = isinstance(value, int) and 0 <= value < len(names)
    return names[value] if is_class else value


def _column(there: Iterable[str], given: str | None, usual: tuple[str, ...], where: str, role: str) -> str:
    columns = list(there)
    found = next((name for name in ([given] if given is not None else usual) if name in columns), None)
    if found is None:
        has = printable(", ".join(map(repr, columns))) or "none"
        if given is not None:
            raise ValueError(f"{where}: {role}_column={given!r} is not a column; the columns are {has}")
        wanted = " or ".join(map(repr, usual))
        raise ValueError(
            f"{where}: no {role} column {wanted}; the columns are {has}. Pass {role}_column=... to name it"
        )
    return found


TABLE_ENDINGS = (".jsonl", ".csv", ".tsv")
_LONGEST_LINE = 2**23  # characters


class TableLine(NamedTuple):
    """A line of a table.

    Attributes:
        line: line number in the file, from 1.
        file_name: file name of the image.
        caption: a text, or a list of texts; unvalidated.
    """

    line: int
    file_name: str
    caption: Any


def read_table(path: Path, image: str | None = None, caption: str | None = None) -> list[TableLine]:
    """Read the rows of a table.

    Args:
        path: a .jsonl, .csv or .tsv file in UTF-8; the latter two with a header line.
        image: the column of file names; "file_name" by default.
        caption: the column of captions; "text" or "caption" by default.

    Raises:
        ValueError: if the table cannot be read or lacks a column; the message names the file and the line.
    """
    check_not_lfs_pointer(path)
    rows: list[TableLine] = []
    try:
        for line, row in _json_lines(path) if path.suffix.lower() == ".jsonl" else _csv_lines(path):
            where = f"{path} line {line}"
            name = row[image_column(row, image, FILE_COLUMNS, where)]
            if not isinstance(name, str) or not name:
                raise ValueError(f"{where}: {shortened(repr(name))} is not a file name")
            rows.append(TableLine(line, name, row[caption_column(row, caption, where)]))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error})") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {reason_of(error)}") from error
    return rows


def _short_lines(lines: TextIO, path: Path) -> Iterator[str]:
    """Yield the lines of a file, none of which may take much memory."""
    number = 0
    while line := lines.readline(_LONGEST_LINE + 1):
        number += 1
        if len(line) > _LONGEST_LINE:
            raise ValueError(f"{path} line {number}: longer than {_LONGEST_LINE:,} characters")
        yield line


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(_short_lines(lines, path), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:  # also a number of too many digits
                raise ValueError(f"{path} line {number}: not valid JSON ({error})") from error
            if not hasattr(row, "keys"):
                raise ValueError(f'{path} line {number}: expected an object such as {{"file_name": ..., "text": ...}}')
            yield number, row


def _csv_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(_short_lines(lines, path), delimiter=delimiter, strict=True)
        try:
            header = next(reader, None)
            if header is None:
                return
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise ValueError(
                        f"{path} line {reader.line_num}: {counted(len(cells), 'column')}; the header has {len(header)}"
                    )
                yield reader.line_num, dict(zip(header, cells, strict=True))
        except csv.Error as error:
            raise ValueError(f"{path} line {reader.line_num}: not valid CSV ({printable(error)})") from error
