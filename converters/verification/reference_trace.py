"""The reference beside the backends: a checkpoint run in numpy and float64, with gradients and a step of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from clip_core.modeling import stages
from clip_core.modeling.parameters import MODEL_CLASSES
from converters.pretrained import prepare
from converters.verification import reference
from converters.verification.autodiff import Tracked, pull_back

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from converters.checkpoint import Checkpoint

_DTYPES: dict[str, Any] = {
    "float64": np.float64,
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
}
# What is minimised: the first of these that is a stage. See `clip_core.modeling.stages.objective`.
_OBJECTIVES = ("loss", "text_embeds", "text_features", "image_features", "logits", "text.pooled", "vision.pooled")


class RoundedWeights(Mapping[str, Any]):
    """A checkpoint as a model of some dtype holds it, in float64 and not kept in memory.

    Args:
        checkpoint: canonical name to array.
        dtype: what to round to.
    """

    def __init__(self, checkpoint: Checkpoint, dtype: str) -> None:
        self.checkpoint, self.dtype = checkpoint, _DTYPES[dtype]

    def __getitem__(self, name: str) -> Any:
        return np.asarray(self.checkpoint[name]).astype(self.dtype, copy=False).astype(np.float64, copy=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self.checkpoint)

    def __len__(self) -> int:
        return len(self.checkpoint)


class TrackedWeights(RoundedWeights):
    """The same for gradients: what was used is kept, in `used`."""

    def __init__(self, checkpoint: Checkpoint, dtype: str) -> None:
        super().__init__(checkpoint, dtype)
        self.used: dict[str, Tracked] = {}

    def __getitem__(self, name: str) -> Tracked:
        if name not in self.used:
            self.used[name] = Tracked(super().__getitem__(name))
        return self.used[name]


def trace(
    source: str | os.PathLike[str],
    inputs: Mapping[str, np.ndarray],
    *,
    class_name: str = "CLIPModel",
    dtype: str = "float32",
    gradients: bool = False,
    train_step: bool = False,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Run a model and return every stage in float64; see `clip_core.backends.Tracer`.

    `dtype` is what the weights are rounded to before; all computation is in float64.
    """
    model_class = type(class_name, (), {"config_class": MODEL_CLASSES[class_name]})
    prepared = prepare(model_class, source, **options)
    if not (gradients or train_step):
        found = reference.run(class_name, RoundedWeights(prepared.checkpoint, dtype), prepared.config, **inputs)
        return {name: np.asarray(array) for name, array in found.items()}
    weights = TrackedWeights(prepared.checkpoint, dtype)
    tracked: Any = reference.run(class_name, weights, prepared.config, **inputs)
    found = {name: array.value for name, array in tracked.items()}
    slopes = _gradients(weights, tracked)
    if gradients:
        found |= {f"gradient.{name}": slope for name, slope in slopes.items()}
    if train_step:
        parameters = {name: np.asarray(weights[name].value) for name in prepared.report.matched}
        found |= {f"updated.{name}": array for name, array in stages.adamw(parameters, slopes).items()}
    return found


def _gradients(weights: TrackedWeights, tracked: Mapping[str, Tracked]) -> dict[str, np.ndarray]:
    """The gradients of the objective by the parameters that take part in it."""
    objective = next(name for name in _OBJECTIVES if name in tracked)
    result = tracked[objective]
    found = pull_back(result, 1.0 if objective == "loss" else stages.objective_weights(result.shape))
    return {name: found[leaf.node] for name, leaf in weights.used.items() if leaf.node in found}
