"""The stages of a model's run, stored on disk, so that only one run at a time is in memory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from clip_core.hub.files import telling_of_a_full_disk
from clip_core.modeling.stages import without_variant
from converters.inspection.values import largest_value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from converters.verification.tolerances import Precision

_PREPARED = " prepared"
_LAYER = re.compile(r".*\.layers\.\d+(?=\.)")
_STATES = re.compile(r"vision\.layers\.\d+")


class StoredRun:
    """The arrays that a framework computed from a checkpoint.

    Args:
        name: the name of the run, such as "torch".
        precision: the precision of the computation.
        arrays: the arrays by stage, in order of computation.
        folder: an empty folder to store them in.
        temperature: exp(logit_scale) of the checkpoint; 1 if it has none.
        classifier_norm: the largest Euclidean norm of a row of a classifier's weight; 0 if the checkpoint has none.
        without_gradients: True if the run was not supposed to compute gradients, so missing ones are not a fault.

    Attributes:
        stages: the names of the stages, in order of computation; see `clip_core.modeling.stages`. Gradients are in the
            order of their computation, from the last parameter to the first.
        largest: the largest absolute value of each stage; NaN or infinite if any value is.
    """

    def __init__(
        self,
        name: str,
        precision: Precision,
        arrays: Mapping[str, np.ndarray],
        folder: Path,
        temperature: float = 1.0,
        *,
        classifier_norm: float = 0.0,
        without_gradients: bool = False,
    ) -> None:
        self.name, self.precision = name, precision
        self.temperature, self.classifier_norm = temperature, classifier_norm
        self.without_gradients = without_gradients
        self.largest: dict[str, float] = {}
        self._files: dict[str, Path] = {}
        for stage in _in_order(arrays):
            array = np.asarray(arrays[stage])
            self._files[stage] = folder / f"{len(self._files)}.npy"
            with telling_of_a_full_disk(self._files[stage]):
                np.save(self._files[stage], array, allow_pickle=False)
            self.largest[stage] = largest_value(array)
        self.stages = list(self._files)

    def __getitem__(self, stage: str) -> np.ndarray:
        """Return a stage, mapped from disk."""
        array: np.ndarray = np.load(self._files[stage], mmap_mode="r", allow_pickle=False)
        return array

    def __contains__(self, stage: object) -> bool:
        return stage in self._files

    def largest_gradient(self, layer: str) -> float:
        """Return the largest absolute value among the gradients of a layer.

        Some gradients are zero up to rounding, such as those of the key biases, because softmax is invariant to a shift
        of all scores. The layer's other gradients give the magnitude of the terms that cancel.
        """
        found = (size for stage, size in self.largest.items() if is_gradient(stage) and layer_of(stage) == layer)
        return max(found, default=0.0)

    def size_of_logits(self, stage: str) -> float:
        """Return the size of a classifier's logits if the terms of their sums do not cancel; 0 if there are none.

        A logit is the product of a row of weights and the mean state `(hidden,)` of an image's patches. The product of
        their norms, divided by the square root of `hidden`, is the root mean square of the logit over all directions of
        the state.

        Args:
            stage: the logits or the loss, of any variant.
        """
        variant = stage.removesuffix(without_variant(stage))
        layers = [name for name in self.stages if _STATES.fullmatch(name.removeprefix(variant))]
        if not self.classifier_norm or not layers:
            return 0.0
        means = self[layers[-1]][:, 1:].mean(axis=1, dtype=np.float64)  # (batch, hidden), without the class token
        return self.classifier_norm * float(np.sqrt((means**2).mean(axis=-1)).max(initial=0.0))


def run_name(label: str, framework: str, *, prepared: bool) -> str:
    """Return the name of a run, such as "torch", or "torch prepared" for a model prepared for inference."""
    return f"{label}{framework}{_PREPARED if prepared else ''}"


def as_loaded(run: str) -> str:
    """Return the name of the run of the model as loaded, given the name of any run of that framework."""
    return run.removesuffix(_PREPARED)


def is_gradient(stage: str) -> bool:
    """Return True if a stage is the gradient of a parameter."""
    return stage.startswith("gradient.")


def is_explanation(stage: str) -> bool:
    """Return True if a stage is an explanation, which is made of gradients by attention."""
    return stage.startswith(("explanation.", "differences."))


def is_update(stage: str) -> bool:
    """Return True if a stage is a parameter after a training step."""
    return stage.startswith("updated.")


def layer_of(stage: str) -> str:
    """Return the encoder layer that a parameter's stage belongs to, or otherwise its module."""
    found = _LAYER.match(stage)
    return found[0] if found else stage.rpartition(".")[0]


def _in_order(arrays: Mapping[str, np.ndarray]) -> list[str]:
    gradients = [name for name in arrays if is_gradient(name)]
    updated = [name for name in arrays if is_update(name)]
    return [*(name for name in arrays if name not in {*gradients, *updated}), *reversed(gradients), *updated]
