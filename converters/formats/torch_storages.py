"""The tensors and storages of PyTorch's files, as a pickle states them, checked before any value is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.hub.printing import counted
from converters.tensors import TensorEntry

if TYPE_CHECKING:
    from converters.formats.mapped import MappedFile

# Bytes that a tensor may have beyond those in the file: `torch.Tensor.expand` repeats values without storing them.
_LARGEST_EXPANDED = 2**16


@dataclass(eq=False, slots=True)
class Storage:
    """A storage that the pickle refers to, and the position of its bytes once that is known."""

    key: str
    dtype: np.dtype
    file: MappedFile | None = None
    start: int = 0
    size: int = 0


@dataclass(eq=False, slots=True)
class StoredTensor:
    """A tensor as the pickle states it, unchecked.

    Attributes:
        dtype: the dtype, if the storage has none of its own; otherwise None.
    """

    storage: Any
    offset: Any
    shape: Any
    stride: Any
    dtype: np.dtype | None = None

    def entry(self, name: str) -> TensorEntry:
        """Return the entry of the tensor, after checking that all values are in its storage.

        Raises:
            ValueError: the shape, stride or offset is impossible, or the storage is missing or too small.
        """
        storage, offset, shape, stride = self.storage, self.offset, self.shape, self.stride
        is_complete = isinstance(storage, Storage) and type(shape) is type(stride) is tuple
        # Negative values would lead to memory outside of the storage.
        if not is_complete or len(shape) != len(stride) or not all(map(_is_size, (offset, *shape, *stride))):
            raise ValueError(f"{name} has an impossible shape, stride or offset; they must be integers of 0 or more")
        if storage.file is None:
            raise ValueError(f"the storage of {name} is missing from the file")
        dtype = self.dtype or storage.dtype
        width = dtype.itemsize
        last = sum((length - 1) * step for length, step in zip(shape, stride, strict=True))
        start, count = offset * width, 0 if 0 in shape else last + 1
        there, needed = storage.size // width, math.prod(shape)
        if offset + count > there:
            raise ValueError(
                f"the storage of {name} has {counted(there, 'value')}, but the tensor needs {offset + count}"
            )
        if needed > there and needed * width > _LARGEST_EXPANDED:
            raise ValueError(f"{name} has shape {shape}, but only {there} values in its storage; save it contiguous")
        file, strides = storage.file, tuple(step * width for step in stride)

        def load() -> np.ndarray:
            values = file.part(storage.start + start, storage.start + start + count * width).view(dtype)
            return np.ndarray(shape, dtype, values, strides=strides)  # as_strided does not know float8

        def fill(array: np.ndarray) -> None:
            file.read_into(array, storage.start + start)

        return TensorEntry(shape, dtype, load, fill if _in_order(shape, stride) else None)


def _is_size(number: Any) -> bool:
    return type(number) is int and 0 <= number < 2**62


def _in_order(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Return True if the strides are those of a contiguous array."""
    steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return all(step == found for length, step, found in zip(shape, steps, stride, strict=True) if length > 1)
