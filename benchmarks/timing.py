"""Whose turn it is, and how one is timed: alike for what a worker runs, a row's own process, and fresh processes."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_SHORT = 0.2  # seconds; what takes less is run once untimed before, since another's turn has emptied the caches


class Work:
    """A function, and how long it took at last.

    Args:
        function: runs to its end, in which nothing goes on in the background.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self._last = 0.0

    def run(self) -> float:
        """Seconds of one run; never of the first, which may compile."""
        if self._last < _SHORT:
            self.function()
        start = time.perf_counter()
        self.function()
        self._last = time.perf_counter() - start
        return self._last


def orders(names: Iterable[str], rounds: int) -> Iterator[list[str]]:
    """The names in another order each round, drawn from a seed: whatever else the machine does falls on all alike.

    Nobody always follows the one that leaves the caches and the threads at their worst.
    """
    drawn, among = random.Random(0), list(names)  # noqa: S311  nothing is secret
    return (drawn.sample(among, len(among)) for _ in range(rounds))
