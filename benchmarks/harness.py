"""Two ways of doing the same thing in one process, turn by turn, as a row of a table."""

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
        name: what was done.
        peer: by whom besides us.
        measurements: of "ours" and of "peer".
    """

    name: str
    peer: str
    measurements: dict[str, Measurement]

    @property
    def ratio(self) -> Ratio:
        """How many times as fast as the peer."""
        return ratio(self.measurements, "peer", "ours")

    def cells(self) -> list[str]:
        """The name, and what stands in the columns."""
        ours, theirs = (milliseconds(one.median, one.spread) for one in self.measurements.values())
        return [self.name, ours, self.peer, theirs, f"{self.ratio.median:.2f}"]

    def record(self) -> dict[str, Any]:
        """For a JSON file."""
        found = {name: vars(one) | {"median": one.median} for name, one in self.measurements.items()}
        return {"name": self.name, "peer": self.peer, "times": found, "ratio": self.ratio.median}


def compare(
    name: str, ours: Callable[[], object], peer: Callable[[], object], *, peer_name: str, fewest: int = 7
) -> Row:
    """Time both, turn by turn, so that whatever else the machine does falls on both alike."""
    works = {"ours": Work(ours), "peer": Work(peer)}
    first = sum(one.median for one in take_turns(works, 1).values())
    return Row(name, peer_name, take_turns(works, number_of_turns(first, BUDGET, fewest)))


def times_as_fast(row: Row, limit: float, why: str = "") -> Goal:
    """That we were so many times as fast as the peer."""
    return at_least(f"{row.name}: times as fast as {row.peer}", row.ratio, limit, why=why)
