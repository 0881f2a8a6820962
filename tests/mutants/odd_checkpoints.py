"""The checkpoints on which mutants run: small and odd ones that together use every feature of the models.

Random weights hide small errors, so those of some checkpoints are changed: see `_with_sensitive_activations`,
`_with_distant_class_token` and `_HOT`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from converters.verification.reference import ACTIVATIONS
from support.checkpoints import save_checkpoint, with_values
from support.configs import SHALLOW, tiny_config

if TYPE_CHECKING:
    from pathlib import Path

# OpenAI's vocabulary, whose ids do not fit in 16 bits with a sign.
_VOCABULARY = {"vocab_size": 49408, "bos_token_id": 49406}

# The class, and fields of the text, vision and full configurations. The first checkpoint detects most mutants.
_CHECKPOINTS: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "both": ("CLIPModel", {"hidden_act": "gelu_pytorch_tanh"}, {}, {}),
    "openai": (
        "CLIPModel",
        {
            "eos_token_id": 2,
            "hidden_act": "quick_gelu",
            "pruned_heads": {1: [0, 3]},
            "attention_dropout": 0.5,
            "max_position_embeddings": 60,  # so many that `get_text_features` splits the batch
        },
        {"hidden_act": "quick_gelu", "pruned_heads": {0: [2]}, "attention_dropout": 0.5},
        {},
    ),
    "eager": (
        "CLIPModel",
        {"hidden_act": "silu", "eos_token_id": 49407, **_VOCABULARY},
        {"hidden_act": "relu"},
        {"attn_implementation": "eager"},
    ),
    "classes": (
        "CLIPForImageClassification",
        {},
        {"hidden_act": "gelu_pytorch_tanh", "attention_dropout": 0.5},
        {"num_labels": 3},
    ),
    "regression": ("CLIPForImageClassification", {}, {}, {"num_labels": 1}),
    "regressions": ("CLIPForImageClassification", {}, {}, {"num_labels": 2, "problem_type": "regression"}),
    "labels": (
        "CLIPForImageClassification",
        {},
        {"hidden_act": "quick_gelu"},
        {"num_labels": 2, "problem_type": "multi_label_classification"},
    ),
    "features": ("CLIPForImageClassification", {}, {}, {"num_labels": 0}),
    "text": ("CLIPTextModel", {"hidden_act": "selu", "eos_token_id": 2, **_VOCABULARY}, {}, {}),
    # More tokens than a prepared model takes at once.
    "long text": ("CLIPTextModel", {"max_position_embeddings": 400}, {}, {}),
    "half": ("CLIPModel", {}, {}, {}),
    "half classes": ("CLIPForImageClassification", {}, {}, {"num_labels": 3}),
    "projected text": ("CLIPTextModelWithProjection", {"hidden_act": "swish", "attention_dropout": 0.5}, {}, {}),
    "vision": ("CLIPVisionModel", {}, {"hidden_act": "gelu"}, {}),
    "projected vision": ("CLIPVisionModelWithProjection", {}, {"attention_dropout": 0.5}, {}),
}
# Gradients are compared on these, too.
WITH_GRADIENTS = ("both", "openai")
# These run in float16, in which some frameworks compute attention in another way.
IN_HALF_PRECISION = ("half", "half classes")
# These have the weights of `_with_distant_class_token`.
_DISTANT = ("vision",)
# The temperature of this one is above 100, the limit that training keeps.
_HOT, _LOGIT_SCALE = "eager", 5.0


def write_all(folder: Path) -> dict[str, Path]:
    """Write the checkpoints into a folder, and return the path of each by name.

    Those without gradients have a single layer, as all towers repeat theirs by the same code.
    """
    for name, (class_name, text, vision, top) in _CHECKPOINTS.items():
        layers = {"text": {}, "vision": {}} if name in WITH_GRADIENTS else SHALLOW
        config = tiny_config({**layers["text"], **text}, {**layers["vision"], **vision}, **top)
        arrays = save_checkpoint(folder / name, config, class_name)
        changes = {}
        if name not in (*WITH_GRADIENTS, *IN_HALF_PRECISION):
            for tower, part in (("text", config.text_config), ("vision", config.vision_config)):
                changes |= _with_sensitive_activations(arrays, f"{tower}_model.encoder.layers.0.mlp", part.hidden_act)
        if name in _DISTANT:
            changes |= _with_distant_class_token(arrays)
        if name == _HOT:
            changes["logit_scale"] = np.array(_LOGIT_SCALE, np.float32)
        with_values(folder / name, **changes)
    return {name: folder / name for name in _CHECKPOINTS}


def _with_sensitive_activations(arrays: dict[str, np.ndarray], mlp: str, activation: str) -> dict[str, np.ndarray]:
    """Return an MLP's weights that show small errors of its activation function; none if there is no such MLP.

    The inputs of the function range from -4 to 4, as in trained models, where those of random weights are near 0; those
    of relu range up to 7, beyond the limit of relu6. The weights that follow are large, but the usual outputs of the
    function cancel in each of their sums. An error of 8e-6, such as that of 0.0447 in the place of 0.044715 in
    "gelu_new", then exceeds the tolerance.
    """
    if f"{mlp}.fc1.bias" not in arrays:
        return {}
    inputs = np.linspace(-4, 7 if activation == "relu" else 4, len(arrays[f"{mlp}.fc1.bias"]))
    usual = ACTIVATIONS[activation](inputs)
    weights = arrays[f"{mlp}.fc2.weight"].astype(np.float64)  # (hidden, intermediate)
    weights -= np.outer(weights @ usual, usual) / (usual @ usual)
    return {
        f"{mlp}.fc1.bias": inputs.astype(np.float32),
        f"{mlp}.fc2.weight": (_GAIN * weights).astype(np.float32),
    }


_GAIN = 10


def _with_distant_class_token(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return positions of which that of the class token has a mean of 100 standard deviations.

    A norm that computes the variance as the mean square minus the squared mean loses its digits there.
    """
    name = "vision_model.embeddings.position_embedding.weight"  # (patches + 1, hidden)
    positions = arrays[name].copy()
    positions[0] += 100 * positions[0].std()
    return {name: positions}
