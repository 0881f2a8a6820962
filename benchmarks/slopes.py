"""Growth of costs: the exponent of a power law, fitted on logarithmic axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


class Slope(NamedTuple):
    """A power law: cost = factor * size ** exponent."""

    exponent: float
    factor: float

    def at(self, size: float) -> float:
        """Return the predicted cost."""
        return self.factor * size**self.exponent


def fit(sizes: Sequence[float], costs: Sequence[float]) -> Slope:
    """Fit a straight line to the logarithms by least squares.

    Args:
        sizes: at least two distinct ones, above 0.
        costs: one per size, above 0.

    Raises:
        ValueError: if there are fewer, or one is not above 0.
    """
    if len(set(sizes)) < 2 or min(*sizes, *costs) <= 0:
        raise ValueError(f"a slope needs at least two sizes, and costs above 0: {list(sizes)} and {list(costs)}")
    exponent, offset = np.polyfit(np.log(sizes), np.log(costs), 1)
    return Slope(float(exponent), float(np.exp(offset)))
