"""What was asked of a measurement, and whether it was reached: a target missed is said, with by how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Goal:
    """One target beside what was measured.

    Attributes:
        what: what is measured, in words.
        measured: the number.
        bound: "at most" or "at least".
        limit: what was asked.
        unit: of both numbers.
        why: for the reader, if it is missed.
    """

    what: str
    measured: float
    bound: Literal["at most", "at least"]
    limit: float
    unit: str = ""
    why: str = ""

    @property
    def reached(self) -> bool:
        """Whether it was."""
        return self.measured <= self.limit if self.bound == "at most" else self.measured >= self.limit

    def __str__(self) -> str:
        asked = f"{self.what}: asked {self.bound} {_number(self.limit)}{self.unit}, "
        told = f"measured {_number(self.measured)}{self.unit}: "
        if self.reached:
            return asked + told + "reached"
        return asked + told + f"missed by {abs(self.measured / self.limit - 1):.0%}" + (self.why and f" ({self.why})")


def at_most(what: str, measured: float, limit: float, unit: str = "", why: str = "") -> Goal:
    """A target that is reached from below."""
    return Goal(what, measured, "at most", limit, unit, why)


def at_least(what: str, measured: float, limit: float, unit: str = "", why: str = "") -> Goal:
    """A target that is reached from above."""
    return Goal(what, measured, "at least", limit, unit, why)


def _number(value: float) -> str:
    return f"{value:.3g}"
