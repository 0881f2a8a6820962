"""The checkpoints on which mutants run: small and odd ones that together use every feature of the models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.checkpoints import save_checkpoint
from support.configs import SHALLOW, tiny_config

if TYPE_CHECKING:
    from pathlib import Path

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
    "eager": ("CLIPModel", {"hidden_act": "silu"}, {"hidden_act": "relu"}, {"attn_implementation": "eager"}),
    "classes": (
        "CLIPForImageClassification",
        {},
        {"hidden_act": "gelu_pytorch_tanh", "attention_dropout": 0.5},
        {"num_labels": 3},
    ),
    "regression": ("CLIPForImageClassification", {}, {}, {"num_labels": 1}),
    "labels": (
        "CLIPForImageClassification",
        {},
        {},
        {"num_labels": 2, "problem_type": "multi_label_classification"},
    ),
    "features": ("CLIPForImageClassification", {}, {}, {"num_labels": 0}),
    "text": ("CLIPTextModel", {"hidden_act": "selu"}, {}, {}),
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


def write_all(folder: Path) -> dict[str, Path]:
    """Write the checkpoints into a folder, and return the path of each by name.

    Those without gradients have a single layer, as all towers repeat theirs by the same code.
    """
    for name, (class_name, text, vision, top) in _CHECKPOINTS.items():
        layers = {"text": {}, "vision": {}} if name in WITH_GRADIENTS else SHALLOW
        config = tiny_config({**layers["text"], **text}, {**layers["vision"], **vision}, **top)
        save_checkpoint(folder / name, config, class_name)
    return {name: folder / name for name in _CHECKPOINTS}
