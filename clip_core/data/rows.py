"""Data sets that are Python objects, such as those of the Hugging Face `datasets` library, which is not imported."""

from __future__ import annotations

import copy
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from clip_core.data.pairs import Broken, IndexedPairs, Pair, StreamedPairs, make_pair
from clip_core.data.tables import IMAGE_COLUMNS, caption_column, class_names, image_column, named
from clip_core.hub.printing import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


class RowPairs(IndexedPairs):
    """The rows of an object with `len` and integer indexing, such as a `datasets.Dataset` or a list of dictionaries.

    Args:
        rows: the object. Images of a `datasets.Dataset` stay encoded; the loader's workers decode them.
        image: the column of images; "image" by default.
        caption: the column of captions; "text" or "caption" by default. A class-label column yields the class names.

    Raises:
        ValueError: if a column is missing.
    """

    def __init__(self, rows: Any, image: str | None = None, caption: str | None = None) -> None:
        self._length = len(rows)
        self._columns = _Columns.of(rows, image, caption, lambda: rows[0] if self._length else {})
        self._rows = _undecoded(rows, self._columns.image)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int, /) -> Pair | Broken:
        try:
            row = self._rows[index]
        except (OSError, SyntaxError, ValueError) as error:  # the image is decoded as its row is read
            return Broken(f"row {index}", str(error))
        return self._columns.pair(index, row)


class RowStream(StreamedPairs):
    """The rows of a re-iterable object without random access, such as a `datasets.IterableDataset`.

    Args:
        rows: the object; one shard.
        image: as in `RowPairs`.
        caption: as in `RowPairs`.
        length: the number of rows, if known; otherwise one pass counts them.

    Raises:
        ValueError: if a column is missing.
    """

    def __init__(
        self, rows: Any, image: str | None = None, caption: str | None = None, length: int | None = None
    ) -> None:
        self._columns = _Columns.of(rows, image, caption, lambda: next(iter(rows), {}))
        self._rows = _undecoded(rows, self._columns.image)
        self._length = length

    @cached_property
    def sizes(self) -> list[int]:
        """The number of rows, as a list of one."""
        if self._length is not None:
            return [self._length]
        return [sum(1 for _ in self._rows)]

    def read(self, shard: int, start: int, stop: int) -> Iterator[Pair | Broken]:  # noqa: ARG002  there is only one
        """Yield rows `start` to `stop` (exclusive).

        Raises:
            ValueError: if the rows end before `stop`.
        """
        number = start
        skip = getattr(self._rows, "skip", None)
        rows = islice(self._rows, start, stop) if skip is None else islice(skip(start), stop - start)
        for row in rows:
            yield self._columns.pair(number, row)
            number += 1
        if number < stop:
            raise ValueError(
                f"the data ended after {counted(number, 'row')}; expected {self.sizes[0]}, given or counted before"
            )


class _Columns(NamedTuple):
    """The columns that make the pairs.

    Attributes:
        image: the column of images; empty if there are no rows.
        caption: the column of captions; empty if there are no rows.
        names: the class names of a class-label column; empty for captions.
    """

    image: str
    caption: str
    names: list[str]

    @classmethod
    def of(cls, rows: Any, image: str | None, caption: str | None, first_row: Callable[[], Any]) -> _Columns:
        """Find the columns; errors as in `RowPairs`."""
        where = f"the {type(rows).__name__}"
        columns = _column_names(rows, first_row, where)
        if not columns:
            return cls("", "", [])
        images = image_column(columns, image, IMAGE_COLUMNS, where)
        captions = caption_column(columns, caption, where)
        return cls(images, captions, class_names(_feature(rows, captions)))

    def pair(self, number: int, row: Mapping[str, Any]) -> Pair | Broken:
        """Return the pair in a row."""
        return make_pair(f"row {number}", row.get(self.image), named(row.get(self.caption), self.names))


def _column_names(rows: Any, first_row: Callable[[], Any], where: str) -> list[str]:
    """Return the column names; empty if there are no rows."""
    features = getattr(rows, "features", None)
    if features:
        return list(features)
    row = first_row()
    if not hasattr(row, "keys"):
        raise ValueError(f"{where}: rows are of type {type(row).__name__}; expected mappings from column names")
    return list(row.keys())


def _feature(rows: Any, column: str) -> Any:
    """Return the declared feature of a column, or None."""
    return (getattr(rows, "features", None) or {}).get(column)


def _undecoded(rows: Any, column: str) -> Any:
    """Return the same rows with images left as bytes or paths, if the object supports it."""
    feature = _feature(rows, column)
    of_format = getattr(rows, "format", None) or {}
    if not getattr(feature, "decode", False) or of_format.get("type") == "custom":
        return rows
    encoded = copy.copy(feature)
    encoded.decode = False
    return rows.with_format(None).cast_column(column, encoded)
