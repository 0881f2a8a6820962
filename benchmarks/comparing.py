"""Output comparison, before any timing: a fast wrong answer does not count."""

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
    """Outputs of two libraries that differ for the same weights and inputs."""


def check_same(
    name: str, outputs: Outputs, reference_name: str, reference: Outputs, precision: Precision = "float32"
) -> float:
    """Compare every output with the reference's, within the rounding tolerance of `clip-zoo verify`.

    Args:
        name: the library under test.
        outputs: features and embeddings of unit norm, and logits, by name.
        reference_name: the library to compare with.
        reference: the expected outputs; it may contain more than `outputs`.
        precision: the precision of both.

    Returns:
        The maximum difference. For logits, it is divided by the temperature.

    Raises:
        DifferentOutputsError: if an output has another shape, contains NaN, or exceeds the tolerance.
    """
    worst = 0.0
    for key, array in outputs.items():
        expected = reference[key]
        if array.shape != expected.shape:
            raise DifferentOutputsError(
                f"{name}: {key} has shape {array.shape}; {reference_name}'s has {expected.shape}"
            )
        group, scale = ("logits", TEMPERATURE) if key.startswith("logits") else ("unit-norm embeddings", 1.0)
        tolerance = TOLERANCES[group].of(precision)
        difference = float(np.abs(array.astype(np.float64) - expected).max()) / scale
        if not difference <= tolerance:  # false for NaN
            raise DifferentOutputsError(
                f"{name}: {key} differs from {reference_name}'s by {difference:.2g}, more than {tolerance}"
            )
        worst = max(worst, difference)
    return worst
