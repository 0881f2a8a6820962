"""Comparison of large arrays in float64, block by block, without converting entire arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 2**20  # values converted to float64 at a time


@dataclass
class Change:
    """The difference between the values of two arrays.

    Attributes:
        absolute: the largest absolute difference; infinite if a value is NaN or infinite in only one array.
        relative: `absolute` divided by the largest absolute value of the first array.
        count: the number of values that differ.
    """

    absolute: float
    relative: float
    count: int


def change_between(a: np.ndarray, b: np.ndarray) -> Change:
    """Return the difference between two arrays of the same shape; NaN equals NaN."""
    change, size = Change(0.0, 0.0, 0), 0.0
    for block, other_block in zip(_blocks(a), _blocks(b), strict=True):
        size = max(size, _largest(block))
        if block.dtype == other_block.dtype and np.array_equal(block.view(np.uint8), other_block.view(np.uint8)):
            continue
        one, other = block.astype(np.float64), other_block.astype(np.float64)
        differs = (one != other) & ~(np.isnan(one) & np.isnan(other))
        change.count += int(differs.sum())
        with np.errstate(invalid="ignore"):
            distances = np.nan_to_num(np.abs(one - other)[differs], nan=math.inf, posinf=math.inf)
        change.absolute = max(change.absolute, float(distances.max(initial=0.0)))
    change.relative = change.absolute / size if size else (math.inf if change.absolute else 0.0)
    return change


def largest_value(array: np.ndarray) -> float:
    """Return the largest absolute value; NaN if one is NaN, 0 for an empty array."""
    return float(np.max([_largest(block) for block in _blocks(array)], initial=0.0))


def _blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    flat = array.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        yield flat[start : start + BLOCK]


def _largest(block: np.ndarray) -> float:
    return float(np.abs(block.astype(np.float64)).max())
