"""A tensor in a file that has not been read yet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np


@dataclass(frozen=True)
class TensorEntry:
    """What a file's header tells of a tensor, and the way to its values.

    Attributes:
        shape: its shape.
        dtype: its numpy dtype; bfloat16 and float8 are those of ml_dtypes.
        load: gives the array. It may be a view of the mapped file: writing to it changes memory, never the file.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    load: Callable[[], np.ndarray]

    @property
    def nbytes(self) -> int:
        """The size of the values in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize
