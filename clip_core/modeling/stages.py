"""Everything that CLIP computes on the way, by name, so that runs of different frameworks can be compared.

The names are those of `converters.verification.reference`, in the order of computation. A comparison of gradients and
of a training step also needs what is minimised and by which rule; both stand here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.training.settings import decays

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clip_core.modeling.outputs import ModelOutput

# One step of AdamW (Loshchilov and Hutter 2019). The first step of Adam goes by the sign of a gradient alone where
# epsilon is small, also where the gradient is zero but for rounding, as that of every key's bias is; this epsilon is
# far above such, and far below gradients that count.
LEARNING_RATE, BETA_1, BETA_2, EPSILON, WEIGHT_DECAY = 1e-3, 0.9, 0.98, 1e-3, 0.2


def stages(
    class_name: str, outputs: ModelOutput, attentions: ModelOutput, features: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The stages in a model's outputs, by name, in order of computation.

    Args:
        class_name: the model class.
        outputs: what it returned with `output_hidden_states=True`.
        attentions: what it returned with `output_attentions=True`, which may be another run.
        features: of a CLIPModel, what its `get_..._features` returned, by the names of the stages.
    """
    if class_name == "CLIPModel":
        found = dict(_tower("vision", outputs["vision_model_output"], attentions["vision_model_output"]))
        found |= _tower("text", outputs["text_model_output"], attentions["text_model_output"])
        found |= features or {}
        names = ("image_embeds", "text_embeds", "logits_per_text", "logits_per_image", "loss")
        return found | {name: outputs[name] for name in names if name in outputs}
    tower = "text" if "Text" in class_name else "vision"
    found = dict(_tower(tower, outputs, attentions))
    # Of the classes with a projection, what the output calls embeddings is not normalised.
    found |= {
        f"{kind}_features": outputs[f"{kind}_embeds"] for kind in ("text", "image") if f"{kind}_embeds" in outputs
    }
    return found | {name: outputs[name] for name in ("logits", "loss") if name in outputs}


def _tower(name: str, outputs: ModelOutput, attentions: ModelOutput) -> Iterator[tuple[str, Any]]:
    embeddings, *layers = outputs["hidden_states"]
    weights = attentions.get("attentions") or ()
    yield f"{name}.embeddings", embeddings
    for index, states in enumerate(layers):
        if index < len(weights):
            yield f"{name}.layers.{index}.attention", weights[index]
        yield f"{name}.layers.{index}", states
    if name == "text":
        yield "text.last_hidden_state", outputs["last_hidden_state"]
    if "pooler_output" in outputs:
        yield f"{name}.pooled", outputs["pooler_output"]


def objective(outputs: ModelOutput) -> tuple[str, np.ndarray | None]:
    """What is minimised where gradients are compared: the loss, or the sum of a pooled output times fixed weights.

    Returns:
        The name of the output, and the weights in its shape, float32; None for a loss.
    """
    if "loss" in outputs:
        return "loss", None
    name = next(name for name in ("text_embeds", "image_embeds", "logits", "pooler_output") if name in outputs)
    return name, objective_weights(tuple(outputs[name].shape))


def objective_weights(shape: tuple[int, ...]) -> np.ndarray:
    """Fixed weights from -1 to 2, float32: a sum of squares would hardly change with what feeds a layer norm."""
    return np.linspace(-1, 2, math.prod(shape), dtype=np.float32).reshape(shape)


def adamw(parameters: Mapping[str, np.ndarray], gradients: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Parameters after the first step of AdamW, whose moments are the gradient itself: the definition."""
    updated = {}
    for name, value in parameters.items():
        gradient = gradients.get(name)
        if gradient is None:  # a parameter that takes no part is left alone
            updated[name] = value
            continue
        decayed = value * (1 - LEARNING_RATE * WEIGHT_DECAY * decays(name))
        updated[name] = decayed - LEARNING_RATE * gradient / (np.abs(gradient) + EPSILON)
    return updated
