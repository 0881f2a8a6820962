"""The result of a verification: all comparisons and the verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from converters.verification.runs import as_loaded
from converters.verification.tolerances import TOLERANCES

if TYPE_CHECKING:
    from converters.verification.comparison import Comparison


@dataclass
class Verification:
    """The result of comparing runs of a model.

    Attributes:
        checkpoint: the checkpoint.
        against: the checkpoint that it was compared with, if any.
        class_name: the model class.
        dtype: the dtype in which the frameworks ran.
        backends: the names of the frameworks, in the order in which they ran.
        runs: the names of the runs of the first checkpoint: the frameworks that finished, and a second run for
            frameworks with a form prepared for inference.
        inputs: the origin of each argument of the forward pass: the checkpoint whose processor made it, or "drawn".
        configuration: both values of each field that differs between the checkpoints and affects the computation.
        failures: the reason why each failed framework did not finish: its process died, or it raised an internal error.
        comparisons: all stages of all pairs of runs, in order of computation.
        versions: the version of each package, and the hardware.
    """

    checkpoint: str
    against: str | None
    class_name: str
    dtype: str
    backends: list[str]
    inputs: dict[str, str]
    configuration: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """True if all frameworks ran, all runs agree at all stages, and the configurations agree."""
        return (
            not self.failures and not self.configuration and all(comparison.passed for comparison in self.comparisons)
        )

    @property
    def first_drift(self) -> str | None:
        """The first stage, in order of computation, at which any two runs disagree."""
        return next((comparison.stage for comparison in self.comparisons if not comparison.passed), None)

    @property
    def drifting(self) -> list[tuple[str, str]]:
        """The pairs of runs that disagree at that stage."""
        first = self.first_drift
        return [one.pair for one in self.comparisons if one.stage == first and not one.passed]

    @property
    def suspect(self) -> str | None:
        """The run, or the framework with both of its runs, that all of these pairs share; None if there is none."""
        as_frameworks = [tuple(map(as_loaded, pair)) for pair in self.drifting]
        for pairs in (self.drifting, as_frameworks):
            common = set(pairs[0]).intersection(*pairs) if pairs else set()
            # Two runs of a framework share most of their code, so both may be wrong.
            others = {as_loaded(run) for pair in pairs for run in pair if run not in common}
            if len(common) == 1 and len(others) > 1:
                return common.pop()
        return None

    def worst_of_groups(self) -> dict[str, Comparison]:
        """Return, for each group of stages, the comparison with the largest ratio to its tolerance."""
        worst: dict[str, Comparison] = {}
        for comparison in self.comparisons:
            if comparison.badness > worst.setdefault(comparison.group, comparison).badness:
                worst[comparison.group] = comparison
        return {group: worst[group] for group in TOLERANCES if group in worst}

    def verdict(self) -> str:
        """Return the verdict as a sentence."""
        if self.failures:
            return " ".join(f"{name} did not finish: {_last_line(why)}." for name, why in self.failures.items())
        first = self.first_drift
        if first is not None:
            pairs = ", ".join(" and ".join(pair) for pair in self.drifting)
            outlier = f"; {self.suspect} is the outlier" if self.suspect else ""
            return f"The first stage that drifts is {first}: {pairs} differ{outlier}."
        if self.configuration:
            return "All stages agree, but the configurations differ in fields that affect the computation."
        return f"All {len({one.stage for one in self.comparisons})} stages agree."

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, for JSON; infinity becomes None."""
        found = asdict(self)
        found["comparisons"] = [_plain(one) for one in self.comparisons]
        return {**found, "passed": self.passed, "first_drift": self.first_drift, "suspect": self.suspect}


def by_stage(comparisons: list[Comparison]) -> list[Comparison]:
    """Sort comparisons by stage; they are given pair by pair."""
    stages = {one.stage: place for place, one in reversed(list(enumerate(comparisons)))}
    return sorted(comparisons, key=lambda one: stages[one.stage])


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1].rstrip(".")


def _plain(comparison: Comparison) -> dict[str, Any]:
    """Replace infinity, which JSON lacks, with None."""
    found = {**asdict(comparison), "passed": comparison.passed}
    return {key: None if value == float("inf") else value for key, value in found.items()}
