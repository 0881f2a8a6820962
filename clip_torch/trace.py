"""Every stage of a run as numpy arrays, for `clip-zoo verify` to hold against other frameworks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import clip_torch
from clip_core.modeling import stages
from clip_core.training.settings import decays
from clip_torch.tensors import to_numpy

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from torch import Tensor, nn


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
    """Run a model and return every stage; see `clip_core.backends.Tracer`."""
    model = getattr(clip_torch, class_name).from_pretrained(source, dtype=dtype, **options)
    tensors = {name: torch.from_numpy(np.asarray(array)) for name, array in inputs.items()}
    if class_name == "CLIPModel" and len(tensors["input_ids"]) == len(tensors["pixel_values"]):
        tensors["return_loss"] = True  # type: ignore[assignment]
    with torch.no_grad():
        outputs = model(**tensors, output_hidden_states=True)
        features = _features(model, tensors) if class_name == "CLIPModel" else None
        found = stages.stages(class_name, outputs, _attentions(model, tensors), features)
    arrays = {name: _array(tensor) for name, tensor in found.items()}
    if gradients or train_step:
        _backward(model, tensors)
        arrays |= {
            f"gradient.{name}": _array(parameter.grad)
            for name, parameter in model.named_parameters()
            if gradients and parameter.grad is not None
        }
    if train_step:
        _step(model)
        arrays |= {f"updated.{name}": _array(parameter) for name, parameter in model.named_parameters()}
    return arrays


def _features(model: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        "image_features": model.get_image_features(tensors["pixel_values"]),
        "text_features": model.get_text_features(tensors["input_ids"], tensors.get("attention_mask")),
    }


def _attentions(model: Any, tensors: Mapping[str, Tensor]) -> Any:
    """A run of eager attention, which alone returns its weights; all other stages come from the default."""
    implementation = model.config.attn_implementation
    model.set_attn_implementation("eager")
    try:
        return model(**tensors, output_attentions=True)
    finally:
        model.set_attn_implementation(implementation)


def _backward(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    outputs = model(**tensors)
    name, weights = stages.objective(outputs)
    value = outputs[name] if weights is None else (outputs[name] * torch.from_numpy(weights)).sum()
    value.backward()


def _step(model: nn.Module) -> None:
    named = dict(model.named_parameters())
    groups = [
        {"params": [tensor for name, tensor in named.items() if decays(name) is decayed], "weight_decay": decay}
        for decayed, decay in ((True, stages.WEIGHT_DECAY), (False, 0.0))
    ]
    # Parameters that got no gradient are left alone, as by every framework.
    torch.optim.AdamW(groups, lr=stages.LEARNING_RATE, betas=(stages.BETA_1, stages.BETA_2), eps=stages.EPSILON).step()


def _array(tensor: Tensor) -> np.ndarray:
    return to_numpy(tensor.float()).copy()
