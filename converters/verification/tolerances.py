"""All tolerances of `clip-zoo verify`, by stage, with the reason for each.

Frameworks sum in different orders, so their rounding differs. The tolerances are a few times the differences measured
on a full-size B/32 model and on a small trained model. They are far below the effect of any wrong formula, and are
never widened to make a run pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import ml_dtypes

from clip_core.modeling.stages import without_variant

Precision = Literal["float64", "float32", "float16", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float64", "float32", "float16", "bfloat16")  # finest first

# The size by which a difference is divided before it is compared with a tolerance:
ABSOLUTE = "absolute"  # no division
LARGEST = "largest value"  # of the tensor; for a gradient, of all gradients in its layer
TEMPERATURE = "temperature"  # exp(logit_scale), which scales the errors of cosines
# The size of a classifier's logits whose terms do not cancel. Their errors are those of the states, times the weights,
# and do not shrink if the sum happens to be near zero, as the single logit of a regression may be for every image.
LOGIT = "logit without cancellation"
# The largest possible change in Adam's first step, apart from weight decay; or one rounding of the tensor's largest
# value if that is more, as in half precision.
STEP = "learning rate"


@dataclass(frozen=True)
class Tolerance:
    """The tolerances of a group of stages.

    Attributes:
        scale: the size by which a difference is divided: ABSOLUTE, LARGEST, TEMPERATURE, LOGIT or STEP.
        float32: the tolerance between runs in float32; `float16` and `bfloat16` state it for those dtypes.
        float64: the tolerance between two runs of the reference, which differ only in their inputs.
    """

    scale: str
    float32: float
    float16: float
    bfloat16: float
    float64: float = 1e-10

    def of(self, precision: Precision) -> float:
        """Return the tolerance between two runs, given the coarser of their precisions."""
        value: float = getattr(self, precision)
        return value


# The same code prepares images and ids for every framework.
_EXACT = Tolerance(ABSOLUTE, 0.0, 0.0, 0.0, 0.0)
# Twelve layers of B/32 stay below 2e-6 of the largest value in fp32. fp16 has 10 bits of fraction (5e-4 per rounding)
# and bf16 has 7 (4e-3 per rounding); these errors add up over the layers.
_STATES = Tolerance(LARGEST, float32=1e-5, float16=1e-2, bfloat16=8e-2)
# Heatmaps from 0 to 1, and shares of tokens that sum to 1: differences of small gradients, enlarged to that range.
# 6e-6 was measured on the trained model, and 2e-6 on B/32. Half precision rounds probabilities, states and
# gradients alike: 5e-3 was measured in fp16, and 5e-2 in bf16.
_HEATMAPS = Tolerance(ABSOLUTE, float32=1e-5, float16=2e-2, bfloat16=2e-1)

# The groups of the table, in order of computation.
TOLERANCES: dict[str, Tolerance] = {
    "pixels": _EXACT,
    "token ids": _EXACT,
    "embeddings": _STATES,
    "hidden states": _STATES,
    # Probabilities; the largest is near 1.
    "attentions": _STATES,
    "pooled": _STATES,
    # Projections before normalization, and a classifier's logits, whose scale is LOGIT.
    "projected": _STATES,
    # Unit-norm embeddings: 1e-5 is promised to users of all three frameworks; 2e-7 is typical.
    "unit-norm embeddings": Tolerance(ABSOLUTE, float32=1e-5, float16=2e-3, bfloat16=1e-2),
    # Cosines times the temperature, and a mean of log-sums of them: their errors are at most twice those of embeddings.
    # A classifier's loss has those of its logits, so its scale is LOGIT; or the loss, if it squares larger residuals.
    "logits": Tolerance(TEMPERATURE, float32=1e-5, float16=4e-3, bfloat16=2e-2),
    "loss": Tolerance(TEMPERATURE, float32=1e-5, float16=4e-3, bfloat16=2e-2),
    "explanations": _HEATMAPS,
    # The error of a difference is 1e-9 of a logit.
    "finite differences": _HEATMAPS,
    # Gradients pass through the layers twice, and start as differences of probabilities. 2e-5 was measured.
    "gradients": Tolerance(LARGEST, float32=1e-4, float16=5e-2, bfloat16=4e-1),
    # 5e-4 was measured. Leaving out weight decay changes a parameter by 2e-4 of its value, which is 20 times the
    # tolerance for a parameter of 1. In half precision, the last bit of a parameter is about a step, and the sign of
    # small gradients is noise. There, this proves only that no parameter moved by more than one step.
    "updated parameters": Tolerance(STEP, float32=1e-2, float16=2.0, bfloat16=2.0),
}

_TOP_LEVEL = {
    "pixel_values": "pixels",
    "input_ids": "token ids",
    "attention_mask": "token ids",
    "image_features": "projected",
    "text_features": "projected",
    "logits": "projected",
    "image_embeds": "unit-norm embeddings",
    "text_embeds": "unit-norm embeddings",
    "logits_per_text": "logits",
    "logits_per_image": "logits",
    "loss": "loss",
    "chunked_loss": "loss",
}
_KINDS = {
    "explanation": "explanations",
    "differences": "finite differences",
    "gradient": "gradients",
    "updated": "updated parameters",
}


def group_of(stage: str) -> str:
    """Return the group of a stage in the table; a variant's stage has the same group."""
    stage = without_variant(stage)
    kind, _, rest = stage.partition(".")
    if kind in _KINDS:
        return _KINDS[kind]
    if stage in _TOP_LEVEL:
        return _TOP_LEVEL[stage]
    if rest.endswith("attention"):
        return "attentions"
    return {"embeddings": "embeddings", "pooled": "pooled"}.get(rest, "hidden states")


def scale_of(stage: str) -> str:
    """Return the size by which differences of a stage are divided."""
    if without_variant(stage) == "logits":
        return LOGIT
    # The temperature's logarithm affects the loss like the logits.
    return TEMPERATURE if stage == "gradient.logit_scale" else TOLERANCES[group_of(stage)].scale


def roundoff(precision: Precision) -> float:
    """Return the distance from 1 to the next larger number."""
    info = ml_dtypes.finfo(precision)  # type: ignore[no-untyped-call]
    return float(info.eps)
