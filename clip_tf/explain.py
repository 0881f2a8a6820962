"""Attention probabilities and the gradients by them, for `clip_core.tasks.explain`: numpy in, numpy out.

A probe of zeros is added to a layer's probabilities. The gradient by the probe is the gradient by the probabilities.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import tensorflow as tf

from clip_core.tasks.explain.gradients import LayerAttention, LogitGradients
from clip_tf.model import CLIPModel, unit_norm
from clip_tf.plan import AttentionPlan, text_plan

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

    from clip_tf.layers import CLIPEncoderLayer


def logit_gradients(
    model: CLIPModel,
    pixel_values: np.ndarray,
    input_ids: np.ndarray,
    attention_mask: np.ndarray,
    *,
    first_image_layer: int,
    first_text_layer: int,
) -> LogitGradients:
    """Differentiate the logit of an image with each text; see `ExplainableEncoder.logit_gradients`."""
    vision, text = model.vision_model, model.text_model
    pixels, ids, mask = (tf.convert_to_tensor(array) for array in (pixel_values, input_ids, attention_mask))
    image_states = vision(pixels, output_attentions=False, output_hidden_states=True).hidden_states
    text_states = text(ids, mask, output_attentions=False, output_hidden_states=True).hidden_states
    image = ProbedLayers(vision.encoder.layers[first_image_layer:], AttentionPlan("eager"))
    words = ProbedLayers(text.encoder.layers[first_text_layer:], text_plan("eager", mask, text_states[0]))
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        states = image.run(tf.repeat(image_states[first_image_layer], len(input_ids), axis=0), tape)
        image_embeds = unit_norm(model.visual_projection(vision.post_layernorm(states[:, 0])))
        states = text.final_layer_norm(words.run(text_states[first_text_layer], tape))
        pooled = tf.gather(states, text.eos_positions(ids), batch_dims=1)
        text_embeds = unit_norm(model.text_projection(pooled))
        logits = tf.reduce_sum(text_embeds * image_embeds, axis=-1)
        logits *= tf.exp(tf.cast(model.logit_scale, logits.dtype))
    found = tape.gradient(logits, [*image.probes, *words.probes])
    count = len(image.probes)
    return LogitGradients(image.attention(found[:count]), words.attention(found[count:]))


def layer_gradients(
    model: CLIPModel, pixel_values: np.ndarray, text_embeds: np.ndarray, *, first_layer: int
) -> list[LayerAttention]:
    """Differentiate each layer's similarity with each text; see `ExplainableEncoder.layer_gradients`."""
    vision = model.vision_model
    pixels = tf.convert_to_tensor(pixel_values)
    states = vision(pixels, output_attentions=False, output_hidden_states=True).hidden_states
    texts = tf.convert_to_tensor(text_embeds)
    found = []
    for index in range(first_layer, len(vision.encoder.layers)):
        layer = ProbedLayers(vision.encoder.layers[index : index + 1], AttentionPlan("eager"))
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            pooled = tf.reduce_mean(layer.run(tf.repeat(states[index], len(texts), axis=0), tape), axis=1)
            embeds = unit_norm(model.visual_projection(vision.post_layernorm(pooled)))
            similarity = embeds * tf.cast(texts, embeds.dtype)
        found += layer.attention(tape.gradient(similarity, layer.probes))
    return found


class ProbedLayers:
    """Encoder layers that run with a probe each.

    Args:
        layers: the layers.
        plan: the plan of their attention, with the implementation "eager".

    Attributes:
        probes: the probe of each layer that has run, `(batch, heads, seq, seq)`.
    """

    def __init__(self, layers: Iterable[CLIPEncoderLayer], plan: AttentionPlan) -> None:
        self.layers, self.plan = list(layers), plan
        self.probes: list[tf.Tensor] = []
        self._probabilities: list[tf.Tensor] = []

    def run(self, states: tf.Tensor, tape: tf.GradientTape) -> tf.Tensor:
        """Map `(batch, seq, hidden)` to the same shape; the tape watches the probes."""
        batch, seq, _ = states.shape
        for layer in self.layers:
            probe = tf.zeros((batch, layer.self_attn.num_heads, seq, seq), states.dtype)
            tape.watch(probe)
            states, probabilities = layer(states, output_attentions=True, plan=replace(self.plan, probe=probe))
            self.probes.append(probe)
            self._probabilities.append(probabilities)
        return states

    def attention(self, gradients: Iterable[tf.Tensor]) -> list[LayerAttention]:
        """Return the attention of each layer, given the gradient by each probe."""
        pairs = zip(self._probabilities, gradients, strict=True)
        return [LayerAttention(_float32(probabilities), _float32(gradient)) for probabilities, gradient in pairs]


def _float32(tensor: tf.Tensor) -> np.ndarray:
    array: np.ndarray = tf.cast(tensor, tf.float32).numpy()
    return array
