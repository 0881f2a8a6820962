"""Several libraries on the same inputs: outputs compared, then timed turn by turn."""

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

_REST = 0.02  # seconds between turns, in which the threads of the one before come to rest
_SURE = 0.9  # at least how often the interval of a ratio holds the true one


class Timeable(Protocol):
    """What takes turns."""

    def run(self) -> float:
        """Seconds of one run."""


class Runner(Timeable, Protocol):
    """What takes turns on inputs that it is given: a `remote.Worker`, or anything like it."""

    def prepare(self, stage: str, inputs: dict[str, np.ndarray], **options: Any) -> dict[str, np.ndarray]:
        """Take the inputs; what is computed of them."""


@dataclass
class Measurement:
    """The times of one library at one case.

    Attributes:
        target: whose.
        seconds: of every turn.
    """

    target: str
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the turns."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """(90th percentile - 10th percentile) / median; of fewer than ten turns, all of their range."""
        tenths = statistics.quantiles(self.seconds, n=10) if len(self.seconds) >= 10 else sorted(self.seconds)
        return (tenths[-1] - tenths[0]) / self.median


@dataclass
class Case:
    """What is run.

    Attributes:
        name: for the reader.
        stage: "images", "texts" or "full"; on a GPU "tower" too.
        inputs: by the names that models take them under.
        facts: that plots and goals go by, such as the batch.
        options: further keywords of the model's method.
    """

    name: str
    stage: str
    inputs: dict[str, np.ndarray]
    facts: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Timed:
    """A case with the times of all, and those that were left out with the reason.

    Attributes:
        case: what was run.
        measurements: by target, of rounds in which all had their turn.
        left_out: why, by target.
        duels: by our target and a peer's, of rounds in which those two alone had theirs; see `add_duels`.
    """

    case: Case
    measurements: dict[str, Measurement]
    left_out: dict[str, str] = field(default_factory=dict)
    duels: dict[tuple[str, str], dict[str, Measurement]] = field(default_factory=dict)

    def median(self, target: str) -> float | None:
        """The median of a target, or None where it was left out."""
        found = self.measurements.get(target)
        return None if found is None else found.median

    def record(self) -> dict[str, Any]:
        """For the JSON file."""
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
    """Compare what all compute, and time those that compute the reference's numbers.

    Args:
        case: what is run.
        runners: by target.
        reference: the target whose outputs are expected.
        budget: seconds that all turns together may take; the more turns fit, up to 25, the better the medians.
        fewest: how many turns are taken whatever they cost.
        precision: of all; see `comparing.check_same`.
    """
    same, left_out = same_outputs(case, runners, reference, precision)
    first = take_turns(same, 1)
    turns = number_of_turns(sum(one.median for one in first.values()), budget, fewest)
    return Timed(case, take_turns(same, turns), left_out)


def same_outputs(
    case: Case, runners: Mapping[str, Runner], reference: str, precision: Precision = "float32"
) -> tuple[dict[str, Runner], dict[str, str]]:
    """Prepare all; those that compute the reference's numbers, and the reasons of those that don't.

    Raises:
        RuntimeError: the reference itself failed.
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
    """Run each once a round."""
    measurements = {name: Measurement(name) for name in runners}
    for order in orders(runners, turns):
        for name in order:
            time.sleep(_REST)
            measurements[name].seconds.append(runners[name].run())
    return measurements


def number_of_turns(seconds: float, budget: float, fewest: int, most: int = 25) -> int:
    """How many turns of so many seconds fit the budget, within bounds."""
    return max(fewest, min(most, int(budget / max(seconds, 1e-6))))


def add_duels(
    timed: Timed, runners: Mapping[str, Timeable], pairs: Iterable[tuple[str, str]], *, budget: float, fewest: int = 5
) -> None:
    """Let two at a time take turns, so that more rounds of what is held against each other fit the time.

    Args:
        timed: what all were timed at last, which they are still prepared for.
        runners: by target.
        pairs: our target and a peer's, which may run something else that was prepared before; those are passed over
            of which one was left out or never started.
        budget: seconds for a pair.
        fewest: rounds that are taken whatever they cost.
    """
    for pair in pairs:
        if not timed.left_out.keys() & pair and runners.keys() >= set(pair):
            seconds = sum(timed.measurements[name].median for name in pair if name in timed.measurements)
            turns = number_of_turns(seconds, budget, fewest)
            timed.duels[pair] = take_turns({name: runners[name] for name in pair}, turns)


@dataclass(frozen=True)
class Ratio:
    """Our time over a peer's, round by round: whatever slows the machine for longer than a round falls on both.

    Attributes:
        rounds: of each round, not sorted.
    """

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rounds)

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true median lies in nine of ten such measurements, by the sign test; of four rounds all of them.

        The k-th smallest and the k-th largest round hold it unless fewer than k of n tosses of a coin fall on one side
        (David and Nagaraja, "Order Statistics", 7.1), which takes nothing for granted of how times are distributed.
        """
        n, ordered = len(self.rounds), sorted(self.rounds)
        beyond, k = 1 / 2**n, 0  # how often none is on one side
        while 2 * beyond <= 1 - _SURE:
            k += 1
            beyond += math.comb(n, k) / 2**n
        k = max(k, 1)
        return ordered[k - 1], ordered[-k]

    def times(self, factor: float) -> Ratio:
        """In another unit."""
        return Ratio(tuple(factor * one for one in self.rounds))


def ratio(measurements: Mapping[str, Measurement], ours: str, peer: str) -> Ratio:
    """Our time over the peer's in each of the rounds in which both had a turn."""
    pairs = zip(measurements[ours].seconds, measurements[peer].seconds, strict=True)
    return Ratio(tuple(own / other for own, other in pairs))


def ratios(timed: Sequence[Timed], ours: str, peer: str) -> list[tuple[Timed, Ratio]]:
    """Our time over the peer's, where both were measured; of their duel, where there was one."""
    found = []
    for one in timed:
        measured = one.duels.get((ours, peer)) or one.duels.get((peer, ours)) or one.measurements
        if {ours, peer} <= measured.keys():
            found.append((one, ratio(measured, ours, peer)))
    return found
