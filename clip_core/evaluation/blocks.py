"""Rows of a large matrix of scores, as many at a time as memory has room for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CELLS = 1 << 24  # 64 MB in float32


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Slices of the rows, one after another, each of a block with at most 2**24 cells, or of one row."""
    size = max(1, _CELLS // max(columns, 1))
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))
