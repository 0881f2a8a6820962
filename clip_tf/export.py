"""Export to a SavedModel with named signatures, for any batch size and text length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from clip_core.modeling.outputs import ModelOutput
from clip_tf.inputs import call_signature

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

Specs = dict[str, tf.TensorSpec]


def export_saved_model(model: keras.Model, path: str | os.PathLike[str], *, verbose: bool = True) -> None:
    """Write a SavedModel: `serving_default` is the model's call, and a CLIPModel also has its `get_..._features`.

    Every signature takes its inputs by name and returns a dict of tensors. `input_ids` and `attention_mask` are int32
    `(batch, seq)`, and `pixel_values` are float32 `(batch, channels, height, width)`.
    """
    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, (function, specs) in _endpoints(model).items():
        archive.add_endpoint(name, function, input_signature=[specs])
    archive.write_out(str(path), verbose=verbose)


def _endpoints(model: keras.Model) -> dict[str, tuple[Callable[[Any], dict[str, tf.Tensor]], Specs]]:
    text, image = _text_specs(), _image_specs(getattr(model.config, "vision_config", model.config))
    endpoints = {"serve": (lambda inputs: _tensors(model, model(inputs, training=False)), input_specs(model))}
    if hasattr(model, "get_text_features"):
        endpoints |= {
            "get_text_features": (lambda inputs: {"text_features": model.get_text_features(inputs)}, text),
            "get_image_features": (lambda inputs: {"image_features": model.get_image_features(inputs)}, image),
        }
    return endpoints


def input_specs(model: Any) -> Specs:
    """Return the shapes and dtypes of the texts and images that a model's call takes, by name."""
    specs = {**_text_specs(), **_image_specs(getattr(model.config, "vision_config", model.config))}
    taken = call_signature(type(model)).parameters
    return {name: spec for name, spec in specs.items() if name in taken} or specs


def dummy_inputs(model: Any) -> dict[str, tf.Tensor]:
    """Return a batch of one, filled with ones: a text of two tokens, an image, or both, as a call takes them."""

    def ones(spec: tf.TensorSpec) -> tf.Tensor:
        return tf.ones([1, *(2 if size is None else size for size in spec.shape[1:])], spec.dtype)

    return {name: ones(spec) for name, spec in input_specs(model).items()}


def serving_function(model: Any) -> Any:
    """Return the model's call as a `tf.function` from one dict of inputs to a dict of its single tensors."""
    return tf.function(lambda inputs: _tensors(model, model(inputs)), input_signature=[input_specs(model)])


def served(output: Any, config: Any) -> Any:
    """Return an output with hidden states and attention weights stacked if the configuration requests them."""
    if not isinstance(output, ModelOutput):
        return output
    asked = {"hidden_states": config.output_hidden_states, "attentions": config.output_attentions}

    def as_served(name: str, value: Any) -> Any:
        if name not in asked:
            return value
        return tf.stack(value) if asked[name] else None

    return type(output)(**{name: as_served(name, value) for name, value in output.items()})


def _text_specs() -> Specs:
    return {name: tf.TensorSpec((None, None), tf.int32, name) for name in ("input_ids", "attention_mask")}


def _image_specs(config: Any) -> Specs:
    if not hasattr(config, "image_size"):
        return {}
    shape = (None, config.num_channels, config.image_size, config.image_size)
    return {"pixel_values": tf.TensorSpec(shape, tf.float32, "pixel_values")}


def _tensors(model: Any, outputs: Any) -> dict[str, tf.Tensor]:
    """Return the outputs that are single tensors after `served`; a signature cannot return nested ones."""
    if tf.is_tensor(outputs):
        return {"output_0": outputs}
    return {name: value for name, value in model.serving_output(outputs).items() if tf.is_tensor(value)}
