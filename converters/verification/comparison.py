"""The comparison of two runs of a model, stage by stage."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clip_core.modeling.stages import LEARNING_RATE
from converters.inspection.values import change_between
from converters.verification.runs import is_explanation, is_gradient, is_update, layer_of
from converters.verification.tolerances import (
    ABSOLUTE,
    LARGEST,
    LOGIT,
    PRECISIONS,
    STEP,
    TEMPERATURE,
    TOLERANCES,
    group_of,
    roundoff,
    scale_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.verification.runs import StoredRun


@dataclass(frozen=True)
class Comparison:
    """The difference between two runs at a stage.

    Attributes:
        stage: the name of the stage; see `clip_core.modeling.stages`.
        group: the group in the table of tolerances.
        pair: the names of the runs.
        absolute: the largest difference; infinite if a value is not finite, the shapes differ or a stage is missing.
        relative: `absolute` divided by the reference size that `scale` names.
        scale: the reference size for the tolerance; see `converters.verification.tolerances`.
        tolerance: the limit of `relative`.
        fault: the reason why the runs cannot be compared; None if they can.
    """

    stage: str
    group: str
    pair: tuple[str, str]
    absolute: float
    relative: float
    scale: str
    tolerance: float
    fault: str | None = None

    @property
    def passed(self) -> bool:
        """True if the runs agree at this stage."""
        return self.fault is None and self.relative <= self.tolerance

    @property
    def badness(self) -> float:
        """Ratio of the difference to the tolerance; above 1 fails."""
        if self.relative == 0:
            return 0.0 if self.fault is None else math.inf
        return self.relative / self.tolerance if self.tolerance else math.inf


def compare(a: StoredRun, b: StoredRun) -> Iterator[Comparison]:
    """Yield the comparison of every stage in either run, in order of computation.

    Gradients, and stages that depend on them, are compared only if both runs were to compute them.
    """
    forward_only = a.without_gradients or b.without_gradients
    for stage in [*a.stages, *(stage for stage in b.stages if stage not in a)]:
        if forward_only and (is_gradient(stage) or is_update(stage) or is_explanation(stage)):
            continue
        yield _compare_stage(stage, a, b)


def _compare_stage(stage: str, a: StoredRun, b: StoredRun) -> Comparison:
    group, scale = group_of(stage), scale_of(stage)
    if group == "loss" and (a.classifier_norm or b.classifier_norm):
        scale = LOGIT
    tolerance = TOLERANCES[group].of(max(a.precision, b.precision, key=PRECISIONS.index))
    absolute, fault = _difference(stage, a, b)
    size = _size(stage, scale, a, b)
    relative = absolute / size if 0 < size < math.inf else (math.inf if absolute else 0.0)
    return Comparison(stage, group, (a.name, b.name), absolute, relative, scale, tolerance, fault)


def _difference(stage: str, a: StoredRun, b: StoredRun) -> tuple[float, str | None]:
    """Return the largest difference at a stage, and the reason why the runs cannot be compared, if any."""
    without = [run.name for run in (a, b) if stage not in run]
    if without:
        # An unused parameter has no gradient in some frameworks and a gradient of zeros in others.
        if is_gradient(stage):
            return max(run.largest[stage] for run in (a, b) if stage in run), None
        return math.inf, f"{without[0]} lacks this stage"
    one, other = a[stage], b[stage]
    if one.shape != other.shape:
        return math.inf, f"{a.name} has shape {one.shape}, but {b.name} has {other.shape}"
    for run in (a, b):
        if not np.isfinite(run.largest[stage]):
            return math.inf, f"{run.name} has NaN or infinite values"
    return change_between(one, other).absolute, None


def _size(stage: str, scale: str, a: StoredRun, b: StoredRun) -> float:
    """Return the size by which a difference is divided."""
    if scale == TEMPERATURE:
        return max(a.temperature, b.temperature)
    if scale == STEP:
        return max(LEARNING_RATE, *(roundoff(run.precision) * run.largest.get(stage, 0.0) for run in (a, b)))
    if scale == ABSOLUTE:
        return 1.0
    if is_gradient(stage):
        return max(run.largest_gradient(layer_of(stage)) for run in (a, b))
    largest = max(run.largest[stage] for run in (a, b) if stage in run)
    if scale == LARGEST:
        return largest
    least = 1.0 if group_of(stage) == "loss" else 0.0  # the loss has rounding of its own, whatever the logits
    return max(largest, least, a.size_of_logits(stage), b.size_of_logits(stage))
