"""How a cost grows: the exponent of a power law, fitted where the axes are logarithmic."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


class Slope(NamedTuple):
    """cost = factor * size ** exponent."""

    exponent: float
    factor: float

    def at(self, size: float) -> float:
        """The cost that the law says."""
        return self.factor * size**self.exponent


def fit(sizes: Sequence[float], costs: Sequence[float]) -> Slope:
    """The straight line through the logarithms with the least squares.

    Args:
        sizes: at least two different ones, above 0.
        costs: one for each size, above 0.

    Raises:
        ValueError: they are fewer, or not above 0.
    """
    if len(set(sizes)) < 2 or min(*sizes, *costs) <= 0:
        raise ValueError(f"a slope takes two sizes or more, and costs above 0: {list(sizes)} and {list(costs)}")
    exponent, offset = np.polyfit(np.log(sizes), np.log(costs), 1)
    return Slope(float(exponent), float(np.exp(offset)))
