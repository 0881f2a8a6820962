"""Tensors of a file that are read only when accessed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from clip_core.hub.printing import shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence


# In bytes. JAX and TensorFlow use memory with this alignment directly; they copy any other memory.
ALIGNMENT = 64


class Stored(NamedTuple):
    """The origin of a canonical tensor in a file with another layout of values.

    Attributes:
        entry: the tensor as the file stores it.
        transform: the name in `converters.naming.transforms.TRANSFORMS` of the transform from canonical to stored.
        part: the index of the canonical tensor among those in the stored one.
    """

    entry: TensorEntry
    transform: str
    part: int


@dataclass(frozen=True)
class TensorEntry:
    """A tensor known from a file's header, with a function that reads its values.

    Attributes:
        shape: the shape.
        dtype: the numpy dtype; bfloat16 and float8 are those of ml_dtypes.
        load: returns the array. It may be a memory map: writing to it changes memory, never the file.
        fill: writes the values directly into a contiguous array of this shape and dtype; None if only `load` can read
            them.
        stored: the tensor as the file stores it, if that is not the canonical layout. A reader with the same layout
            uses it without transposing.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    load: Callable[[], np.ndarray]
    fill: Callable[[np.ndarray], None] | None = None
    stored: Stored | None = None

    @property
    def nbytes(self) -> int:
        """Size of the values in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def own(self, dtype: np.dtype | None = None) -> np.ndarray:
        """Read the values into new, aligned memory that a framework can adopt.

        A memory map would keep its pages in memory beside the framework's copy.

        Args:
            dtype: the dtype to cast to; the tensor's own by default.
        """
        target = aligned(np.empty, self.shape, self.dtype if dtype is None else dtype)
        if self.fill is not None and target.dtype == self.dtype:
            self.fill(target)
        else:
            put(self.load(), target)
        return target


# All tensors of a file may together need a multiple of its size: compressed, or sharing a storage.
_LARGEST_EXPANSION, _ALWAYS_ALLOWED = 16, 2**20

_MOST_AXES, _MOST_VALUES = 32, 2**48  # numpy's limit of axes before 2.0; more values than fit on any disk


# Of a checkpoint; the largest CLIP has about 1,300.
MOST_TENSORS = 10_000

_LONGEST_NAME = 400


def check_names(names: Collection[str]) -> None:
    """Check the names of tensors or files in a file, which messages quote: not too many, short and printable.

    Args:
        names: the names.

    Raises:
        ValueError: one is not.
    """
    if len(names) > MOST_TENSORS:
        raise ValueError(f"it names {len(names)} tensors; expected at most {MOST_TENSORS}")
    for name in names:
        if len(name) > _LONGEST_NAME or not name.isprintable():
            raise ValueError(
                f"it contains the name {shortened(name)}; a name has at most {_LONGEST_NAME} characters, all printable"
            )


def check_sizes(entries: Mapping[str, TensorEntry], file_size: int) -> None:
    """Check that the tensors of a file do not need many times the bytes that the file has.

    Args:
        entries: the tensors.
        file_size: the size of the file in bytes.

    Raises:
        ValueError: they need more, or one has a shape that no array has.
    """
    for name, entry in entries.items():
        if len(entry.shape) > _MOST_AXES or math.prod(max(1, length) for length in entry.shape) > _MOST_VALUES:
            raise ValueError(f"{shortened(name)} has the impossible shape {shortened(entry.shape)}")
    needed = sum(entry.nbytes for entry in entries.values())
    if needed > file_size * _LARGEST_EXPANSION + _ALWAYS_ALLOWED:
        raise ValueError(f"its tensors need {needed} bytes, but the file has only {file_size}; download it again")


def rearranged(
    shape: tuple[int, ...], parts: Sequence[TensorEntry], arrange: Callable[[Sequence[np.ndarray]], np.ndarray]
) -> TensorEntry:
    """Return the entry of a tensor that `arrange` makes from others, as a view if possible."""
    return TensorEntry(
        shape,
        parts[0].dtype,
        lambda: in_order(arrange([part.load() for part in parts])),
        lambda target: put(arrange([part.own() for part in parts]), target),
    )


def aligned(
    allocate: Callable[[int, type[np.uint8]], np.ndarray], shape: tuple[int, ...], dtype: np.dtype
) -> np.ndarray:
    """Allocate an array that frameworks can use without copying, with numpy's `empty` or `zeros`."""
    size = math.prod(shape) * dtype.itemsize
    memory = allocate(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    array: np.ndarray = memory[start : start + size].view(dtype).reshape(shape)
    return array


_STRIPE = 16  # rows; a stripe of both arrays fits into the processor's cache


def in_order(array: np.ndarray) -> np.ndarray:
    """Return the array contiguous and aligned; unchanged if it already is."""
    if not _in_columns(array):
        return np.require(array, requirements=["C", "A"])
    rows = np.empty(array.shape, array.dtype)
    put(array, rows)
    return rows


def put(array: np.ndarray, target: np.ndarray) -> None:
    """Copy values into `target`. For a column-major matrix, this is two to three times as fast as numpy."""
    if not _in_columns(array):
        target[...] = array
        return
    columns = array.T
    for start in range(0, len(columns), _STRIPE):
        target[:, start : start + _STRIPE] = columns[start : start + _STRIPE].T


def _in_columns(array: np.ndarray) -> bool:
    return array.ndim == 2 and array.flags.f_contiguous and not array.flags.c_contiguous
