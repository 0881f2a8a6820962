"""Turn order and timing, shared by workers, in-process rows and fresh processes."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_SHORT = 0.2  # seconds; shorter work first runs once untimed, because the previous turn has evicted the caches


class Work:
    """A function with the duration of its last run.

    Args:
        function: must finish all its work before returning.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self._last = 0.0

    def run(self) -> float:
        """Run once and return the seconds; the first run, which may compile, is never timed."""
        if self._last < _SHORT:
            self.function()
        start = time.perf_counter()
        self.function()
        self._last = time.perf_counter() - start
        return self._last


def orders(names: Iterable[str], rounds: int) -> Iterator[list[str]]:
    """Yield the names in a new seeded random order each round, so that other load affects all equally.

    This prevents any contestant from always following the one that leaves caches and threads in the worst state.
    """
    drawn, among = random.Random(0), list(names)  # noqa: S311  not security-related
    return (drawn.sample(among, len(among)) for _ in range(rounds))
