"""The reference as a backend: a checkpoint run in numpy and float64, with gradients and a training step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from clip_core.modeling import stages
from clip_core.modeling.parameters import MODEL_CLASSES
from clip_core.modeling.tracing import tracer
from converters.pretrained import find_checkpoint
from converters.verification import reference
from converters.verification.autodiff import Tracked, pull_back
from converters.verification.explanation import explanations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clip_core.modeling.tracing import TraceRequest
    from converters.checkpoint import Checkpoint

_DTYPES: dict[str, Any] = {
    "float64": np.float64,
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
}
# The objective is the first of these stages in the output. See `clip_core.modeling.stages.objective`.
_OBJECTIVES = ("loss", "text_embeds", "text_features", "image_features", "logits", "text.pooled", "vision.pooled")


class RoundedWeights(Mapping[str, Any]):
    """A checkpoint rounded to a dtype, as float64 arrays that are computed on access and not kept.

    Args:
        checkpoint: canonical name to array.
        dtype: the dtype to round to.
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
    """Rounded weights for computing gradients; `used` collects the weights that were accessed."""

    def __init__(self, checkpoint: Checkpoint, dtype: str) -> None:
        super().__init__(checkpoint, dtype)
        self.used: dict[str, Tracked] = {}

    def __getitem__(self, name: str) -> Tracked:
        if name not in self.used:
            self.used[name] = Tracked(super().__getitem__(name))
        return self.used[name]


class TracedReference:
    """The reference as a `clip_core.modeling.tracing.Traced`, in float64 after rounding the weights to a dtype.

    Args:
        request: the checkpoint and the inputs. The weights are rounded to its `dtype`.
    """

    def __init__(self, request: TraceRequest) -> None:
        self.request = request
        model_class = type(request.class_name, (), {"config_class": MODEL_CLASSES[request.class_name]})
        self._found = find_checkpoint(model_class, request.source, **request.options)
        weights_class = TrackedWeights if request.differentiated else RoundedWeights
        self._weights: Any = weights_class(self._found.checkpoint, request.dtype)

    def stages(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Run the forward pass on these inputs, and return every stage."""
        request, weights = self.request, self._weights
        tracked = request.differentiated and inputs is request.inputs  # only the main inputs have gradients
        if not tracked:
            weights = RoundedWeights(self._found.checkpoint, request.dtype)
        run: Any = reference.stages_of(request.class_name, weights, self._found.config, **inputs)
        if tracked:
            self._run = run
        return {name: array.value if tracked else np.asarray(array) for name, array in run.items()}

    def chunked_loss(self, text_embeds: np.ndarray, image_embeds: np.ndarray) -> np.ndarray:
        """Return the contrastive loss of unit-norm embeddings `(pairs, projection)`: a scalar."""
        weights = RoundedWeights(self._found.checkpoint, self.request.dtype)
        return reference.loss_of_pairs(np.exp(weights["logit_scale"]) * text_embeds @ image_embeds.T)

    def backward(self) -> None:
        """Compute the gradients of the objective."""
        objective = next(name for name in _OBJECTIVES if name in self._run)
        result = self._run[objective]
        found = pull_back(result, 1.0 if objective == "loss" else stages.objective_factors(result.shape))
        used = self._weights.used.items()
        self._gradients = {name: found[leaf.node] for name, leaf in used if leaf.node in found}

    def gradients(self) -> dict[str, np.ndarray]:
        """Return the gradients of the parameters that the objective depends on."""
        return self._gradients

    def explanations(self, inputs: Mapping[str, Any], text_embeds: np.ndarray) -> dict[str, np.ndarray]:  # noqa: ARG002
        """Return the explanations of images with texts, by stage; see `clip_core.tasks.explain.tracing`."""
        config: Any = self._found.config
        return explanations(RoundedWeights(self._found.checkpoint, self.request.dtype), config, **inputs)

    def updated(self) -> dict[str, np.ndarray]:
        """Take one step of AdamW, and return all parameters."""
        parameters = {name: np.asarray(self._weights[name].value) for name in self._found.report.matched}
        return stages.adamw(parameters, self._gradients)


trace = tracer(TracedReference)
