"""Attention probabilities and the gradients by them, for `clip_core.tasks.explain`: numpy in, numpy out.

A probe of zeros is added to a layer's probabilities. The gradient by the probe is the gradient by the probabilities.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from clip_core.tasks.explain.gradients import LayerAttention, LogitGradients
from clip_flax.model import CLIPModel, unit_norm
from clip_flax.plan import AttentionPlan, text_plan

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clip_flax.layers import CLIPEncoderLayer

Probes = list[Array]
Probabilities = list[Array]


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
    graph, state = nnx.split(model)
    first = (first_image_layer, first_text_layer)
    found = _logit_gradients(graph, first, state, pixel_values, input_ids, attention_mask)
    return LogitGradients(*map(_attention, *found))


def layer_gradients(
    model: CLIPModel, pixel_values: np.ndarray, text_embeds: np.ndarray, *, first_layer: int
) -> list[LayerAttention]:
    """Differentiate each layer's similarity with each text; see `ExplainableEncoder.layer_gradients`."""
    graph, state = nnx.split(model)
    return _attention(*_layer_gradients(graph, first_layer, state, pixel_values, text_embeds))


class ProbedLayers:
    """Encoder layers that run with a probe each.

    Args:
        layers: the layers.
        plan: the plan of their attention, with the implementation "eager".
    """

    def __init__(self, layers: Iterable[CLIPEncoderLayer], plan: AttentionPlan) -> None:
        self.layers, self.plan = list(layers), plan

    def probes(self, states: Array) -> Probes:
        """Return a probe of zeros for each layer, `(batch, heads, seq, seq)`, given the first layer's input."""
        batch, seq, _ = states.shape
        return [jnp.zeros((batch, layer.self_attn.num_heads, seq, seq), states.dtype) for layer in self.layers]

    def run(self, states: Array, probes: Probes) -> tuple[Array, Probabilities]:
        """Map `(batch, seq, hidden)` to the same shape; also return each layer's probabilities."""
        found = []
        for layer, probe in zip(self.layers, probes, strict=True):
            states, probabilities = layer(states, output_attentions=True, plan=self.plan._replace(probe=probe))
            found.append(probabilities)
        return states, found


# Compiled for each model's structure and each first layer: without compilation, JAX compiles every operation alone.
@partial(jax.jit, static_argnums=(0, 1))
def _logit_gradients(graph: Any, first: tuple[int, int], state: Any, pixels: Array, ids: Array, mask: Array) -> Any:
    """Return the probabilities of both towers, and the gradients by them."""
    model: CLIPModel = nnx.merge(graph, state)
    vision: Any = model.vision_model
    text: Any = model.text_model
    image_states = vision(pixels, output_attentions=False, output_hidden_states=True).hidden_states
    text_states = text(ids, mask, output_attentions=False, output_hidden_states=True).hidden_states
    image = ProbedLayers(vision.encoder.layers[first[0] :], AttentionPlan("eager"))
    words = ProbedLayers(text.encoder.layers[first[1] :], text_plan("eager", mask, text_states[0]))
    image_start, text_start = jnp.repeat(image_states[first[0]], len(ids), axis=0), text_states[first[1]]

    def logits(image_probes: Probes, text_probes: Probes) -> tuple[Array, tuple[Probabilities, Probabilities]]:
        states, image_probabilities = image.run(image_start, image_probes)
        image_embeds = unit_norm(model.visual_projection(vision.post_layernorm(states[:, 0])))
        states, text_probabilities = words.run(text_start, text_probes)
        pooled = text.final_layer_norm(states)[jnp.arange(len(ids)), text.eos_positions(ids)]
        text_embeds = unit_norm(model.text_projection(pooled))
        found = (text_embeds * image_embeds).sum(axis=-1) * jnp.exp(model.logit_scale.get_value())
        return found.sum(), (image_probabilities, text_probabilities)

    probes = image.probes(image_start), words.probes(text_start)
    gradients, probabilities = jax.grad(logits, argnums=(0, 1), has_aux=True)(*probes)
    return probabilities, gradients


@partial(jax.jit, static_argnums=(0, 1))
def _layer_gradients(graph: Any, first: int, state: Any, pixels: Array, texts: Array) -> Any:
    """Return the probabilities of the layers, and the gradients by them."""
    model: CLIPModel = nnx.merge(graph, state)
    vision: Any = model.vision_model
    states = vision(pixels, output_attentions=False, output_hidden_states=True).hidden_states

    def similarity(layer: ProbedLayers, start: Array, probes: Probes) -> tuple[Array, Probabilities]:
        pooled, probabilities = layer.run(start, probes)
        pooled = vision.post_layernorm(pooled.mean(axis=1))
        return (unit_norm(model.visual_projection(pooled)) * texts).sum(), probabilities

    all_probabilities, all_gradients = [], []
    for index in range(first, len(vision.encoder.layers)):
        layer = ProbedLayers(vision.encoder.layers[index : index + 1], AttentionPlan("eager"))
        start = jnp.repeat(states[index], len(texts), axis=0)
        gradients, probabilities = jax.grad(partial(similarity, layer, start), has_aux=True)(layer.probes(start))
        all_probabilities += probabilities
        all_gradients += gradients
    return all_probabilities, all_gradients


def _attention(probabilities: Probabilities, gradients: Probes) -> list[LayerAttention]:
    """Return the attention of each layer."""
    return [LayerAttention(*map(_float32, pair)) for pair in zip(probabilities, gradients, strict=True)]


def _float32(tensor: Array) -> np.ndarray:
    return np.asarray(tensor.astype(jnp.float32))
