"""Intermediate stages of CLIP's computation, by name, for comparing runs of different frameworks.

Names and order are those of `converters.verification.reference`. The objective and the update rule used to compare
gradients and training steps are also defined here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.training.settings import decays

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clip_core.modeling.outputs import ModelOutput

# One step of AdamW (Loshchilov and Hutter 2019). With a small epsilon, Adam's first step depends only on a gradient's
# sign, even for gradients that are zero up to rounding, such as those of the key biases. This epsilon is far above
# rounding noise and far below meaningful gradients.
LEARNING_RATE, BETA_1, BETA_2, EPSILON, WEIGHT_DECAY = 1e-3, 0.9, 0.98, 1e-3, 0.2


def stages(
    class_name: str, outputs: ModelOutput, attentions: ModelOutput, features: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the stages in a model's outputs, by name, in order of computation.

    Args:
        class_name: the model class.
        outputs: the output with `output_hidden_states=True`.
        attentions: the output with `output_attentions=True`, possibly of another run.
        features: for a CLIPModel, the results of its `get_..._features`, by stage name.
    """
    if class_name == "CLIPModel":
        found = dict(_tower("vision", outputs["vision_model_output"], attentions["vision_model_output"]))
        found |= _tower("text", outputs["text_model_output"], attentions["text_model_output"])
        found |= features or {}
        names = ("image_embeds", "text_embeds", "logits_per_text", "logits_per_image", "loss")
        return found | {name: outputs[name] for name in names if name in outputs}
    tower = "text" if "Text" in class_name else "vision"
    found = dict(_tower(tower, outputs, attentions))
    # In the classes with a projection, the output's `..._embeds` are not normalized.
    found |= {
        f"{kind}_features": outputs[f"{kind}_embeds"] for kind in ("text", "image") if f"{kind}_embeds" in outputs
    }
    return found | {name: outputs[name] for name in ("logits", "loss") if name in outputs}


def in_variant(variant: str, stage: str) -> str:
    """Return the name of a stage in a run on a variant of the inputs, such as "padding: text.pooled"."""
    return f"{variant}: {stage}"


def without_variant(stage: str) -> str:
    """Return the name of the same stage in the run on the main inputs."""
    return stage.rpartition(": ")[2]


def _tower(name: str, outputs: ModelOutput, attentions: ModelOutput) -> Iterator[tuple[str, Any]]:
    embeddings, *layers = outputs["hidden_states"]
    attention_weights = attentions.get("attentions") or ()
    yield f"{name}.embeddings", embeddings
    for index, states in enumerate(layers):
        if index < len(attention_weights):
            yield f"{name}.layers.{index}.attention", attention_weights[index]
        yield f"{name}.layers.{index}", states
    if name == "text":
        yield "text.last_hidden_state", outputs["last_hidden_state"]
    if "pooler_output" in outputs:
        yield f"{name}.pooled", outputs["pooler_output"]


def objective(outputs: ModelOutput) -> tuple[str, np.ndarray | None]:
    """Return the objective for comparing gradients: the loss, or a weighted sum of a pooled output.

    Args:
        outputs: the model's outputs.

    Returns:
        The name of the output, and a factor for each of its values, in the same shape, float32; None for a loss.
    """
    if "loss" in outputs:
        return "loss", None
    name = next(name for name in ("text_embeds", "image_embeds", "logits", "pooler_output") if name in outputs)
    return name, objective_factors(tuple(outputs[name].shape))


def objective_factors(shape: tuple[int, ...]) -> np.ndarray:
    """Return fixed float32 factors from -1 to 2; a sum of squares would be nearly constant after a layer norm.

    Args:
        shape: shape of the factors.
    """
    return np.linspace(-1, 2, math.prod(shape), dtype=np.float32).reshape(shape)


def adamw(parameters: Mapping[str, np.ndarray], gradients: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the parameters after AdamW's first step, by definition: the moments equal the gradient.

    Args:
        parameters: parameters by name.
        gradients: gradients by name; parameters without one are unchanged.
    """
    updated = {}
    for name, value in parameters.items():
        gradient = gradients.get(name)
        if gradient is None:  # a parameter outside the computation is not updated
            updated[name] = value
            continue
        decayed = value * (1 - LEARNING_RATE * WEIGHT_DECAY * decays(name))
        updated[name] = decayed - LEARNING_RATE * gradient / (np.abs(gradient) + EPSILON)
    return updated
