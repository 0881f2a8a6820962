"""Benchmark targets: the required value, the measured value, and the size of a miss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from interleaved import Ratio

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Goal:
    """A target and its measured value.

    Attributes:
        what: description of the quantity.
        measured: the measured value.
        interval: its 90% confidence interval, if known.
        bound: "at most" or "at least".
        limit: the target value.
        unit: unit of both values.
        why: explanation to print if missed.
    """

    what: str
    measured: float
    interval: tuple[float, float] | None
    bound: Literal["at most", "at least"]
    limit: float
    unit: str = ""
    why: str = ""

    @property
    def reached(self) -> bool:
        """True if the target was reached."""
        return self.measured <= self.limit if self.bound == "at most" else self.measured >= self.limit

    @property
    def is_close(self) -> bool:
        """True if the interval contains the limit."""
        return self.interval is not None and self.interval[0] <= self.limit <= self.interval[1]

    def cells(self) -> list[str]:
        """Return the row of a table: the quantity, the limit, the value and whether the target was reached."""
        measured = f"{_number(self.measured)}{self.unit}"
        if self.interval is not None:
            measured += " ({} to {})".format(*map(_number, self.interval))
        return [self.what, f"{self.bound} {_number(self.limit)}{self.unit}", measured, self._result()]

    def _result(self) -> str:
        if self.reached:
            return "reached"
        noise = ", within the noise" if self.is_close else ""
        why = self.why and f" ({self.why})"
        by = _share(abs(self.measured / self.limit - 1)) if self.limit else _number(self.measured)
        return f"missed by {by}{noise}{why}"

    def __str__(self) -> str:
        what, limit, measured, result = self.cells()
        return f"{what}: target {limit}, measured {measured}: {result}"


def at_most(what: str, measured: float | Ratio, limit: float, unit: str = "", why: str = "") -> Goal:
    """Return a target with an upper limit."""
    return Goal(what, *_median_and_interval(measured), "at most", limit, unit, why)


def at_least(what: str, measured: float | Ratio, limit: float, unit: str = "", why: str = "") -> Goal:
    """Return a target with a lower limit."""
    return Goal(what, *_median_and_interval(measured), "at least", limit, unit, why)


def from_record(record: Mapping[str, Any]) -> Goal:
    """Return the target of a JSON file."""
    fields = {name: value for name, value in record.items() if name != "reached"}
    return Goal(**fields | {"interval": record["interval"] and tuple(record["interval"])})


def _median_and_interval(measured: float | Ratio) -> tuple[float, tuple[float, float] | None]:
    return (measured.median, measured.interval) if isinstance(measured, Ratio) else (measured, None)


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") if 0.1 <= value < 10 else f"{value:.3g}"


def _share(share: float) -> str:
    """Format a fraction as a percentage; below one percent, to one significant digit, so that a miss is never 0%."""
    return f"{share:.0%}" if share >= 0.01 else f"{100 * share:.1g}%"
