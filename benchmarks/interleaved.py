"""Interleaved timing of several libraries on the same inputs, after comparing their outputs."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from comparing import DifferentOutputsError, check_same
from timing import orders

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np

    from converters.verification.tolerances import Precision

_REST = 0.02  # seconds between turns, so that the previous turn's threads become idle
_SURE = 0.9  # minimum confidence level of a ratio's interval


class Timeable(Protocol):
    """A contestant that takes turns."""

    def run(self) -> float:
        """Run once and return the seconds."""


class Runner(Timeable, Protocol):
    """A contestant that takes turns on given inputs, such as a `remote.Worker`."""

    def prepare(self, stage: str, inputs: dict[str, np.ndarray], **options: Any) -> dict[str, np.ndarray]:
        """Set the inputs, and return the outputs."""


@dataclass
class Measurement:
    """The times of one library in one case.

    Attributes:
        target: the library.
        seconds: the time of every turn.
    """

    target: str
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the turns."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """(90th percentile - 10th percentile) / median; the full range for fewer than ten turns."""
        tenths = statistics.quantiles(self.seconds, n=10) if len(self.seconds) >= 10 else sorted(self.seconds)
        return (tenths[-1] - tenths[0]) / self.median


@dataclass
class Case:
    """A workload.

    Attributes:
        name: for the reader.
        stage: "images", "texts" or "full"; on a GPU also "tower".
        inputs: by the models' argument names.
        facts: values used by plots and targets, such as the batch size.
        options: further keywords of the model's method.
    """

    name: str
    stage: str
    inputs: dict[str, np.ndarray]
    facts: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Timed:
    """A case with the times of all libraries, and the reasons why some were left out.

    Attributes:
        case: the workload.
        measurements: by target, from rounds in which all took a turn.
        left_out: the reasons, by target.
        duels: for pairs of our target and a peer's, the times of rounds with only those two; see `add_duels`.
    """

    case: Case
    measurements: dict[str, Measurement]
    left_out: dict[str, str] = field(default_factory=dict)
    duels: dict[tuple[str, str], dict[str, Measurement]] = field(default_factory=dict)

    def median(self, target: str) -> float | None:
        """Return the median of a target, or None if it was left out."""
        found = self.measurements.get(target)
        return None if found is None else found.median

    def record(self) -> dict[str, Any]:
        """Return the values for the JSON file."""
        targets = {
            name: {"median": one.median, "spread": one.spread, "seconds": one.seconds}
            for name, one in self.measurements.items()
        }
        duels = [{name: one.seconds for name, one in both.items()} for both in self.duels.values()]
        found = {"case": self.case.name, "stage": self.case.stage, **self.case.facts, "targets": targets}
        return found | {"duels": duels} if duels else found


def time_case(
    case: Case,
    runners: Mapping[str, Runner],
    *,
    reference: str,
    budget: float,
    fewest: int = 5,
    precision: Precision = "float32",
) -> Timed:
    """Compare all outputs, and time the libraries that match the reference.

    Args:
        case: the workload.
        runners: by target.
        reference: the target with the expected outputs.
        budget: seconds for all turns together; there are at most 25 turns, and more give better medians.
        fewest: minimum number of turns, whatever they cost.
        precision: the precision of all runners; see `comparing.check_same`.
    """
    same, left_out = same_outputs(case, runners, reference, precision)
    first = take_turns(same, 1)
    turns = number_of_turns(sum(one.median for one in first.values()), budget, fewest)
    return Timed(case, take_turns(same, turns), left_out)


def same_outputs(
    case: Case, runners: Mapping[str, Runner], reference: str, precision: Precision = "float32"
) -> tuple[dict[str, Runner], dict[str, str]]:
    """Prepare all runners; return those matching the reference, and the reasons for the others.

    Raises:
        RuntimeError: if the reference itself fails.
    """
    expected = runners[reference].prepare(case.stage, case.inputs, **case.options)
    same, left_out = {}, {}
    for name, runner in runners.items():
        try:
            if name != reference:
                outputs = runner.prepare(case.stage, case.inputs, **case.options)
                check_same(name, outputs, reference, expected, precision)
            same[name] = runner
        except (DifferentOutputsError, RuntimeError) as error:
            left_out[name] = str(error)
    return same, left_out


def take_turns(runners: Mapping[str, Timeable], turns: int) -> dict[str, Measurement]:
    """Run each runner once per round."""
    measurements = {name: Measurement(name) for name in runners}
    for order in orders(runners, turns):
        for name in order:
            time.sleep(_REST)
            measurements[name].seconds.append(runners[name].run())
    return measurements


def number_of_turns(seconds: float, budget: float, fewest: int, most: int = 25) -> int:
    """Return the number of turns of this length that fit the budget, within bounds."""
    return max(fewest, min(most, int(budget / max(seconds, 1e-6))))


def add_duels(
    timed: Timed, runners: Mapping[str, Timeable], pairs: Iterable[tuple[str, str]], *, budget: float, fewest: int = 5
) -> None:
    """Time pairs in turns; more rounds of two libraries than of all fit into the time.

    Args:
        timed: the case timed last, for which the runners are still prepared.
        runners: by target.
        pairs: our target and a peer's, which may run other inputs prepared earlier. Pairs with a target that was left
            out or never started are skipped.
        budget: seconds per pair.
        fewest: minimum number of rounds, whatever they cost.
    """
    for pair in pairs:
        if not timed.left_out.keys() & pair and runners.keys() >= set(pair):
            seconds = sum(timed.measurements[name].median for name in pair if name in timed.measurements)
            turns = number_of_turns(seconds, budget, fewest)
            timed.duels[pair] = take_turns({name: runners[name] for name in pair}, turns)


@dataclass(frozen=True)
class Ratio:
    """Our time over a peer's, round by round, so that slow phases of the machine cancel out.

    Attributes:
        rounds: the ratio of each round, unsorted.
    """

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rounds)

    @property
    def interval(self) -> tuple[float, float]:
        """The 90% confidence interval of the true median, by the sign test; for four rounds the full range.

        The k-th smallest and k-th largest round enclose it unless fewer than k of n coin tosses fall on one side (David
        and Nagaraja, "Order Statistics", 7.1), which assumes nothing about the distribution of times.
        """
        n, ordered = len(self.rounds), sorted(self.rounds)
        beyond, k = 1 / 2**n, 0  # probability that none is on one side
        while 2 * beyond <= 1 - _SURE:
            k += 1
            beyond += math.comb(n, k) / 2**n
        k = max(k, 1)
        return ordered[k - 1], ordered[-k]

    def times(self, factor: float) -> Ratio:
        """Return the ratio in another unit."""
        return Ratio(tuple(factor * one for one in self.rounds))


def ratio(measurements: Mapping[str, Measurement], ours: str, peer: str) -> Ratio:
    """Return our time over the peer's for each round with a turn of both."""
    pairs = zip(measurements[ours].seconds, measurements[peer].seconds, strict=True)
    return Ratio(tuple(own / other for own, other in pairs))


def ratios(timed: Sequence[Timed], ours: str, peer: str) -> list[tuple[Timed, Ratio]]:
    """Return our time over the peer's for cases in which both were measured, from their duel if there was one."""
    found = []
    for one in timed:
        measured = one.duels.get((ours, peer)) or one.duels.get((peer, ours)) or one.measurements
        if {ours, peer} <= measured.keys():
            found.append((one, ratio(measured, ours, peer)))
    return found
