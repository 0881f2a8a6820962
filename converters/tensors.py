"""A tensor in a file that has not been read yet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


# Bytes. JAX and TensorFlow take over memory that begins at a multiple of this, and copy all other.
ALIGNMENT = 64


@dataclass(frozen=True)
class TensorEntry:
    """What a file's header tells of a tensor, and the way to its values.

    Attributes:
        shape: its shape.
        dtype: its numpy dtype; bfloat16 and float8 are those of ml_dtypes.
        load: gives the array. It may be a map of the file: writing to it changes memory, never the file.
        fill: puts the values into an array of this shape and dtype, in order, with no second place for them in between;
            None where only `load` has them.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    load: Callable[[], np.ndarray]
    fill: Callable[[np.ndarray], None] | None = None

    @property
    def nbytes(self) -> int:
        """The size of the values in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def own(self, dtype: np.dtype | None = None) -> np.ndarray:
        """The values in new memory that is nobody else's, where a framework can leave them; in another dtype if asked.

        A map of a file would not do: its pages count beside the framework's copy of them.
        """
        target = aligned(np.empty, self.shape, self.dtype if dtype is None else dtype)
        if self.fill is not None and target.dtype == self.dtype:
            self.fill(target)
        else:
            put(self.load(), target)
        return target


def rearranged(
    shape: tuple[int, ...], parts: Sequence[TensorEntry], arrange: Callable[[Sequence[np.ndarray]], np.ndarray]
) -> TensorEntry:
    """The entry of a tensor that `arrange` makes of others, as a view where it can be."""
    return TensorEntry(
        shape,
        parts[0].dtype,
        lambda: in_order(arrange([part.load() for part in parts])),
        lambda target: put(arrange([part.own() for part in parts]), target),
    )


def aligned(
    allocate: Callable[[int, type[np.uint8]], np.ndarray], shape: tuple[int, ...], dtype: np.dtype
) -> np.ndarray:
    """An array that begins where frameworks take it over, in memory of numpy's `empty` or `zeros`."""
    size = math.prod(shape) * dtype.itemsize
    memory = allocate(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    array: np.ndarray = memory[start : start + size].view(dtype).reshape(shape)
    return array


_STRIPE = 16  # rows; what a stripe touches on both sides stays in the processor's cache


def in_order(array: np.ndarray) -> np.ndarray:
    """The array with its values one behind another, each where a processor wants it; itself where that is so."""
    if not _in_columns(array):
        return np.require(array, requirements=["C", "A"])
    rows = np.empty(array.shape, array.dtype)
    put(array, rows)
    return rows


def put(array: np.ndarray, target: np.ndarray) -> None:
    """Copy values as numpy would; those of a matrix that lies in columns two to three times as fast."""
    if not _in_columns(array):
        target[...] = array
        return
    columns = array.T
    for start in range(0, len(columns), _STRIPE):
        target[:, start : start + _STRIPE] = columns[start : start + _STRIPE].T


def _in_columns(array: np.ndarray) -> bool:
    return array.ndim == 2 and array.flags.f_contiguous and not array.flags.c_contiguous
