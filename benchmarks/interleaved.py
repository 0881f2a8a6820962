"""Several libraries on the same inputs: outputs compared, then timed turn by turn."""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from comparing import DifferentOutputsError, check_same

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from converters.tolerances import Precision

_REST = 0.02  # seconds between turns, in which the threads of the one before come to rest


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
    """A case with the times of all, and those that were left out with the reason."""

    case: Case
    measurements: dict[str, Measurement]
    left_out: dict[str, str] = field(default_factory=dict)

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
        return {"case": self.case.name, "stage": self.case.stage, **self.case.facts, "targets": targets}


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
    """Run each once a round, so that whatever else the machine does falls on all alike.

    Each round has an order of its own, drawn from a seed: nobody always follows the one that leaves the caches and the
    threads at their worst.
    """
    measurements = {name: Measurement(name) for name in runners}
    orders = random.Random(0)  # noqa: S311  nothing is secret
    for _ in range(turns):
        for name in orders.sample(list(runners), len(runners)):
            time.sleep(_REST)
            measurements[name].seconds.append(runners[name].run())
    return measurements


def number_of_turns(seconds: float, budget: float, fewest: int, most: int = 25) -> int:
    """How many turns of so many seconds fit the budget, within bounds."""
    return max(fewest, min(most, int(budget / max(seconds, 1e-6))))


def ratios(timed: Sequence[Timed], ours: str, peer: str) -> list[tuple[Timed, float]]:
    """Our time over the peer's, where both were measured."""
    found = []
    for one in timed:
        own, other = one.median(ours), one.median(peer)
        if own is not None and other is not None:
            found.append((one, own / other))
    return found


def rounds_won(timed: Timed, ours: str, peer: str) -> str:
    """In how many rounds ours was the faster, which says how sure a difference of medians is."""
    pairs = list(zip(timed.measurements[ours].seconds, timed.measurements[peer].seconds, strict=True))
    return f"ours the faster in {sum(own < other for own, other in pairs)} of {len(pairs)} rounds"
