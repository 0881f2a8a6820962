"""Pairwise comparison of two implementations in one process, in turns, as a table row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from goals import Goal, at_least
from interleaved import Measurement, Ratio, number_of_turns, ratio, take_turns
from report import milliseconds
from timing import Work

if TYPE_CHECKING:
    from collections.abc import Callable

BUDGET = 10.0  # seconds for the turns of one row

COLUMNS = ("ours, ms", "peer", "peer, ms", "times as fast")


@dataclass
class Row:
    """One comparison.

    Attributes:
        name: the task.
        peer: the other implementation.
        measurements: the times of "ours" and of "peer".
    """

    name: str
    peer: str
    measurements: dict[str, Measurement]

    @property
    def ratio(self) -> Ratio:
        """The speedup over the peer."""
        return ratio(self.measurements, "peer", "ours")

    def cells(self) -> list[str]:
        """Return the cells of the row: the name and the columns."""
        ours, theirs = (milliseconds(one.median, one.spread) for one in self.measurements.values())
        return [self.name, ours, self.peer, theirs, f"{self.ratio.median:.2f}"]

    def record(self) -> dict[str, Any]:
        """Return the values for a JSON file."""
        found = {name: vars(one) | {"median": one.median} for name, one in self.measurements.items()}
        return {"name": self.name, "peer": self.peer, "times": found, "ratio": self.ratio.median}


def compare(
    name: str, ours: Callable[[], object], peer: Callable[[], object], *, peer_name: str, fewest: int = 7
) -> Row:
    """Time both in turns, so that other load on the machine affects them equally."""
    works = {"ours": Work(ours), "peer": Work(peer)}
    first = sum(one.median for one in take_turns(works, 1).values())
    return Row(name, peer_name, take_turns(works, number_of_turns(first, BUDGET, fewest)))


def times_as_fast(row: Row, limit: float, why: str = "") -> Goal:
    """Return the target of a speedup over the peer."""
    return at_least(f"{row.name}: times as fast as {row.peer}", row.ratio, limit, why=why)
