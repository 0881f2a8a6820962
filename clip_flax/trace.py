"""Every stage of a run as numpy arrays, for `clip-zoo verify` to hold against other frameworks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import optax

import clip_flax
from clip_core.modeling import stages
from clip_core.training.settings import decays
from clip_flax.tensors import canonical_entries, canonical_paths, flatten, unflatten

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from jax import Array

    from clip_flax.tensors import Params


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
    model = getattr(clip_flax, class_name).from_pretrained(source, dtype=dtype, param_dtype=dtype, **options)
    tensors: dict[str, Any] = dict(inputs)
    if class_name == "CLIPModel" and len(tensors["input_ids"]) == len(tensors["pixel_values"]):
        tensors["return_loss"] = True
    outputs = model(**tensors, output_hidden_states=True)
    features = _features(model, tensors) if class_name == "CLIPModel" else None
    found = stages.stages(class_name, outputs, _attentions(model, tensors), features)
    arrays = {name: _array(tensor) for name, tensor in found.items()}
    if gradients or train_step:
        backward = _backward(model, tensors)
        if gradients:
            arrays |= {f"gradient.{name}": array for name, array in _canonical(backward).items() if array.any()}
        if train_step:
            updated = _canonical(_step(model.params, backward))
            arrays |= {f"updated.{name}": array for name, array in updated.items()}
    return arrays


def _features(model: Any, tensors: Mapping[str, Any]) -> dict[str, Array]:
    return {
        "image_features": model.get_image_features(tensors["pixel_values"]),
        "text_features": model.get_text_features(tensors["input_ids"], tensors.get("attention_mask")),
    }


def _attentions(model: Any, tensors: Mapping[str, Any]) -> Any:
    """A run of eager attention, which alone returns its weights; all other stages come from the default."""
    implementation = model.config.attn_implementation
    model.set_attn_implementation("eager")
    try:
        return model(**tensors, output_attentions=True)
    finally:
        model.set_attn_implementation(implementation)


def _backward(model: Any, tensors: Mapping[str, Any]) -> Params:
    """The gradients of the objective, nested; zeros for parameters that take no part in it."""

    def value(params: Params) -> Array:
        outputs = model(**tensors, params=params)
        name, weights = stages.objective(outputs)
        return outputs[name] if weights is None else (outputs[name] * weights).sum()

    return jax.grad(value)(model.params)


def _step(params: Params, gradients: Params) -> Params:
    names = {path: name for name, path in canonical_paths(params).items()}
    leaves, slopes = flatten(params), flatten(gradients)
    # Parameters that got no gradient are left alone, as by every framework.
    moved = {names[path]: slope for path, slope in slopes.items() if slope.any()}
    taking_part = {names[path]: leaf for path, leaf in leaves.items() if names[path] in moved}
    optimizer = optax.adamw(
        stages.LEARNING_RATE,
        b1=stages.BETA_1,
        b2=stages.BETA_2,
        eps=stages.EPSILON,
        weight_decay=stages.WEIGHT_DECAY,
        mask={name: decays(name) for name in taking_part},
    )
    updates, _ = optimizer.update(moved, optimizer.init(taking_part), taking_part)
    updated = optax.apply_updates(taking_part, updates)
    return unflatten({path: updated.get(names[path], leaf) for path, leaf in leaves.items()})


def _canonical(params: Params) -> dict[str, np.ndarray]:
    return {name: _array(entry.load()) for name, entry in canonical_entries(params).items()}


def _array(tensor: Any) -> np.ndarray:
    return np.asarray(tensor).astype(np.float32)
