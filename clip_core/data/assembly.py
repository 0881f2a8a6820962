"""Rows put together to a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from clip_core.data.preparation import Row


class Assembly:
    """A batch that is being filled. `len` is the number of its rows.

    Args:
        size: how many rows fill it.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._arrays: dict[str, np.ndarray] = {}
        self.keys: list[str] = []

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def is_full(self) -> bool:
        """Whether no row is missing."""
        return len(self) == self._size

    def add(self, row: Row) -> None:
        """Copy a sample's arrays into the next row."""
        for name, array in row.arrays.items():
            if name not in self._arrays:
                self._arrays[name] = np.empty((self._size, *array.shape), array.dtype)
            self._arrays[name][len(self)] = array
        self.keys.append(row.key)

    def arrays(self) -> dict[str, np.ndarray]:
        """The rows so far, by name: `(rows, ...)`."""
        return {name: array[: len(self)] for name, array in self._arrays.items()}
