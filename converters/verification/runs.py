"""The stages of one run of a model, kept on disk: however many runs are compared, one at a time is in memory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from converters.inspection.values import largest_value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from converters.verification.tolerances import Precision

_LAYER = re.compile(r".*\.layers\.\d+(?=\.)")


class Run:
    """What a framework computed of a checkpoint.

    Args:
        name: what to call it, such as "torch".
        precision: what it computed in.
        arrays: stage to array, in order of computation.
        folder: an empty folder to keep them in.
        temperature: exp(logit_scale) of the checkpoint; 1 where it has none.

    Attributes:
        stages: their names, in order of computation; see `clip_core.modeling.stages`. Gradients come in the order
            in which they are computed, from the last parameter to the first.
        largest: stage to its largest number, without sign; not finite where one is not.
    """

    def __init__(
        self,
        name: str,
        precision: Precision,
        arrays: Mapping[str, np.ndarray],
        folder: Path,
        temperature: float = 1.0,
    ) -> None:
        self.name, self.precision, self.temperature = name, precision, temperature
        self.largest: dict[str, float] = {}
        self._files: dict[str, Path] = {}
        for stage in _in_order(arrays):
            array = np.asarray(arrays[stage])
            self._files[stage] = folder / f"{len(self._files)}.npy"
            np.save(self._files[stage], array, allow_pickle=False)
            self.largest[stage] = largest_value(array)
        self.stages = list(self._files)

    def __getitem__(self, stage: str) -> np.ndarray:
        """A stage, mapped from disk."""
        array: np.ndarray = np.load(self._files[stage], mmap_mode="r", allow_pickle=False)
        return array

    def __contains__(self, stage: object) -> bool:
        return stage in self._files

    def largest_gradient(self, layer: str) -> float:
        """The largest number among the gradients of a layer, without sign.

        Some gradients are zero but for rounding: that of every key's bias, as a soft-max does not change where all
        scores of a row move. What flows back through the layer tells how large the terms are that cancel.
        """
        found = (size for stage, size in self.largest.items() if is_gradient(stage) and layer_of(stage) == layer)
        return max(found, default=0.0)


def is_gradient(stage: str) -> bool:
    """Whether a stage is the gradient of a parameter."""
    return stage.startswith("gradient.")


def layer_of(stage: str) -> str:
    """The layer of an encoder that a parameter's stage belongs to, or else its module."""
    found = _LAYER.match(stage)
    return found[0] if found else stage.rpartition(".")[0]


def _in_order(arrays: Mapping[str, np.ndarray]) -> list[str]:
    gradients = [name for name in arrays if is_gradient(name)]
    updated = [name for name in arrays if name.startswith("updated.")]
    return [*(name for name in arrays if name not in {*gradients, *updated}), *reversed(gradients), *updated]
