"""Every stage of a run as numpy arrays, for `clip-zoo verify` to hold against other frameworks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

import clip_tf
from clip_core.modeling import stages
from clip_core.modeling.parameters import parameter_table
from clip_core.training.settings import decays
from clip_tf.tensors import parameters

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from clip_tf.tensors import Parameter


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
    model = getattr(clip_tf, class_name).from_pretrained(source, dtype=dtype, **options)
    tensors: dict[str, Any] = {name: tf.convert_to_tensor(np.asarray(array)) for name, array in inputs.items()}
    if class_name == "CLIPModel" and len(tensors["input_ids"]) == len(tensors["pixel_values"]):
        tensors["return_loss"] = True
    outputs = model(**tensors, output_hidden_states=True)
    features = _features(model, tensors) if class_name == "CLIPModel" else None
    found = stages.stages(class_name, outputs, _attentions(model, tensors), features)
    arrays = {name: _array(tensor) for name, tensor in found.items()}
    if gradients or train_step:
        named = parameters(model, parameter_table(model.config, class_name))
        of_parameters = _backward(model, tensors, named)
        if gradients:
            arrays |= {f"gradient.{name}": named[name].canonical(_array(g)) for name, g in of_parameters.items()}
    if train_step:
        _step(named, of_parameters)
        arrays |= {f"updated.{name}": parameter.read().astype(np.float32) for name, parameter in named.items()}
    return arrays


def _features(model: Any, tensors: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {
        "image_features": model.get_image_features(tensors["pixel_values"]),
        "text_features": model.get_text_features(tensors["input_ids"], tensors.get("attention_mask")),
    }


def _attentions(model: Any, tensors: Mapping[str, tf.Tensor]) -> Any:
    """A run of eager attention, which alone returns its weights; all other stages come from the default."""
    implementation = model.config.attn_implementation
    model.set_attn_implementation("eager")
    try:
        return model(**tensors, output_attentions=True)
    finally:
        model.set_attn_implementation(implementation)


def _backward(model: Any, tensors: Mapping[str, tf.Tensor], named: Mapping[str, Parameter]) -> dict[str, tf.Tensor]:
    """The gradients of the parameters that take part, by canonical name, laid out as the variables."""
    with tf.GradientTape() as tape:
        outputs = model(**tensors)
        name, weights = stages.objective(outputs)
        value = (
            outputs[name] if weights is None else tf.reduce_sum(outputs[name] * tf.cast(weights, outputs[name].dtype))
        )
    found = tape.gradient(value, [parameter.variable.value for parameter in named.values()])
    # Those of embedding tables come as slices.
    return {name: tf.convert_to_tensor(g) for name, g in zip(named, found, strict=True) if g is not None}


def _step(named: Mapping[str, Parameter], gradients: Mapping[str, tf.Tensor]) -> None:
    optimizer = keras.optimizers.AdamW(
        learning_rate=stages.LEARNING_RATE,
        beta_1=stages.BETA_1,
        beta_2=stages.BETA_2,
        # Keras adds epsilon before it corrects for the bias of the second moment, others after.
        epsilon=stages.EPSILON * (1 - stages.BETA_2) ** 0.5,
        weight_decay=stages.WEIGHT_DECAY,
    )
    variables = [named[name].variable for name in gradients]
    optimizer.exclude_from_weight_decay([named[name].variable for name in gradients if not decays(name)])
    optimizer.apply(list(gradients.values()), variables)


def _array(tensor: tf.Tensor) -> np.ndarray:
    array: np.ndarray = tf.cast(tensor, tf.float32).numpy()
    return array
