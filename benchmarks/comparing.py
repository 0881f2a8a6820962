"""Outputs are compared before anything is timed: other numbers are no faster way to the same ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from checkpoints import TEMPERATURE

from converters.verification.tolerances import TOLERANCES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.verification.tolerances import Precision

    Outputs = Mapping[str, np.ndarray]


class DifferentOutputsError(AssertionError):
    """Two libraries computed different numbers from the same weights and inputs."""


def check_same(
    name: str, outputs: Outputs, reference_name: str, reference: Outputs, precision: Precision = "float32"
) -> float:
    """Compare every output with the reference's, within what `clip-zoo verify` takes for rounding.

    Args:
        name: whose outputs they are.
        outputs: features and embeddings of unit norm, and logits, by name.
        reference_name: who is compared with.
        reference: the outputs that are expected; more of them may be given.
        precision: of both.

    Returns:
        The largest difference; one of logits is divided by the temperature.

    Raises:
        DifferentOutputsError: an output has another shape, holds a NaN, or is further away.
    """
    worst = 0.0
    for key, array in outputs.items():
        expected = reference[key]
        if array.shape != expected.shape:
            raise DifferentOutputsError(f"{name}: {key} is {array.shape}, and {expected.shape} by {reference_name}")
        group, scale = ("logits", TEMPERATURE) if key.startswith("logits") else ("unit-norm embeddings", 1.0)
        tolerance = TOLERANCES[group].of(precision)
        difference = float(np.abs(array.astype(np.float64) - expected).max()) / scale
        if not difference <= tolerance:  # a NaN is not
            raise DifferentOutputsError(
                f"{name}: {key} is {difference:.2g} away from {reference_name}'s, over {tolerance}"
            )
        worst = max(worst, difference)
    return worst
