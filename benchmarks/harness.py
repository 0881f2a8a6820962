"""Timing two ways of doing the same thing, in one run, turn by turn."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Row:
    """One comparison: medians in seconds, the spread of each as (90th - 10th percentile) / median."""

    name: str
    ours: float
    peer: float
    our_spread: float
    peer_spread: float

    @property
    def ratio(self) -> float:
        """How many times as fast as the peer."""
        return self.peer / self.ours


def compare(name: str, ours: Callable[[], object], peer: Callable[[], object], *, repeats: int = 15) -> Row:
    """Time both, turn by turn, so that whatever else the machine does falls on both alike."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats + 2):
        for place in (0, 1) if turn % 2 else (1, 0):  # neither always comes behind the other
            function = (ours, peer)[place]
            start = time.perf_counter()
            function()
            if turn >= 2:  # the first two warm up
                times[place].append(time.perf_counter() - start)
    return Row(name, *(statistics.median(t) for t in times), *(_spread(t) for t in times))


def print_table(rows: list[Row]) -> None:
    """The rows as Markdown."""
    print("| stage | ours, ms | transformers 4.57.6, ms | times as fast |")
    print("|---|---:|---:|---:|")
    for row in rows:
        ours, peer = (f"{1e3 * t:.1f} (±{s:.0%})" for t, s in ((row.ours, row.our_spread), (row.peer, row.peer_spread)))
        print(f"| {row.name} | {ours} | {peer} | {row.ratio:.2f} |")


def _spread(times: list[float]) -> float:
    tenths = statistics.quantiles(times, n=10)
    return (tenths[-1] - tenths[0]) / statistics.median(times)
