"""Every stage of a run as numpy arrays, which `clip-zoo verify` compares across frameworks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

import clip_tf
from clip_core.modeling import stages
from clip_core.modeling.parameters import parameter_table
from clip_core.modeling.tracing import LOSS_CHUNK, call_arguments, run_stages, tracer
from clip_core.tasks.explain.tracing import explanation_stages
from clip_core.training.settings import decays
from clip_tf.explain import layer_gradients, logit_gradients
from clip_tf.loss import chunked_clip_loss
from clip_tf.tensors import parameters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clip_core.modeling.tracing import TraceRequest


class TracedModel:
    """A model as a `clip_core.modeling.tracing.Traced`.

    Args:
        request: the model to load, and its inputs.
    """

    def __init__(self, request: TraceRequest) -> None:
        model_class = getattr(clip_tf, request.class_name)
        self.model: Any = model_class.from_pretrained(request.source, dtype=request.dtype, **request.options)
        self.request = request
        self._named = parameters(self.model, parameter_table(self.model.config, request.class_name))

    def stages(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Run the forward pass on these inputs, and return every stage."""
        return {name: _array(tensor) for name, tensor in run_stages(self.model, self._arguments(inputs)).items()}

    def chunked_loss(self, text_embeds: np.ndarray, image_embeds: np.ndarray) -> np.ndarray:
        """Return the contrastive loss of unit-norm embeddings `(pairs, projection)`, computed in chunks: a scalar."""
        texts, images = tf.convert_to_tensor(text_embeds), tf.convert_to_tensor(image_embeds)
        return _array(_chunked(texts, images, tf.exp(self.model.logit_scale.value)))

    def backward(self) -> None:
        """Compute the gradients of the objective."""
        with tf.GradientTape() as tape:
            outputs = self.model(**self._arguments(self.request.inputs))
            name, factors = stages.objective(outputs)
            value = outputs[name]
            if factors is not None:
                value = tf.reduce_sum(value * tf.cast(factors, value.dtype))
            if self.request.class_name == "CLIPModel" and name == "loss":
                scale = tf.exp(self.model.logit_scale.value)
                value = (value + _chunked(outputs.text_embeds, outputs.image_embeds, scale)) / 2.0
        found = tape.gradient(value, [parameter.variable.value for parameter in self._named.values()])
        # Gradients of embedding tables are IndexedSlices.
        gradients = zip(self._named, found, strict=True)
        self._gradients = {name: tf.convert_to_tensor(gradient) for name, gradient in gradients if gradient is not None}

    def gradients(self) -> dict[str, np.ndarray]:
        """Return the gradients of the parameters that the objective depends on."""
        found = self._gradients.items()
        return {name: self._named[name].canonical(_array(gradient)) for name, gradient in found}

    def updated(self) -> dict[str, np.ndarray]:
        """Take one step of AdamW, and return all parameters."""
        optimizer = keras.optimizers.AdamW(
            learning_rate=stages.LEARNING_RATE,
            beta_1=stages.BETA_1,
            beta_2=stages.BETA_2,
            # Keras adds epsilon before the bias correction of the second moment; other frameworks add it after.
            epsilon=stages.EPSILON * (1 - stages.BETA_2) ** 0.5,
            weight_decay=stages.WEIGHT_DECAY,
        )
        variables = {name: self._named[name].variable for name in self._gradients}
        optimizer.exclude_from_weight_decay([variable for name, variable in variables.items() if not decays(name)])
        optimizer.apply(list(self._gradients.values()), list(variables.values()))
        return {name: parameter.read().astype(np.float32) for name, parameter in self._named.items()}

    def explanations(self, inputs: Mapping[str, Any], text_embeds: np.ndarray) -> dict[str, np.ndarray]:
        """Return the explanations of images with texts, by stage; see `clip_core.tasks.explain.tracing`."""
        gradients = (partial(logit_gradients, self.model), partial(layer_gradients, self.model))
        return explanation_stages(self.model.config, inputs, text_embeds, *gradients)

    def _arguments(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return call_arguments(self.request.class_name, inputs, tf.convert_to_tensor)


def _chunked(texts: tf.Tensor, images: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    texts, images, scale = (tf.cast(tensor, tf.float32) for tensor in (texts, images, scale))
    return chunked_clip_loss(texts, images, scale, LOSS_CHUNK)


def _array(tensor: tf.Tensor) -> np.ndarray:
    array: np.ndarray = tf.cast(tensor, tf.float32).numpy()
    return array


trace = tracer(TracedModel)
