"""The plan of a tower's attention, made once for all layers: the implementation, and the keys that each query sees.

See `clip_core.modeling.attention` for the masks, and for queries that see no key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import tensorflow as tf

from clip_core.modeling.attention import DEFAULT_IMPLEMENTATION, implementation_of_call, known_implementation
from clip_core.modeling.inputs import check_mask_shape
from clip_tf.arrays import framework

if TYPE_CHECKING:
    from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig

ATTENTION_IMPLEMENTATIONS = framework.attention_implementations


# Not a tuple, because Keras flattens tuples and rejects arguments that mix tensors with other values.
@dataclass(frozen=True, eq=False)
class AttentionPlan:
    """The attention of all layers of a tower: the implementation, and the keys that each query sees."""

    implementation: str = DEFAULT_IMPLEMENTATION
    bias: tf.Tensor | None = None  # (batch or 1, 1, seq, seq), added to the scores
    keyless: tf.Tensor | None = None  # (batch or 1, seq or 1, 1, 1) bool, the queries that see no key
    probe: tf.Tensor | None = None  # (batch, heads, seq, seq), added to the attention weights, for gradients


def check_implementation(name: str | None) -> str:
    """Return the attention implementation by name; see `known_implementation`."""
    return known_implementation(name, ATTENTION_IMPLEMENTATIONS)


def choose_implementation(config: CLIPTextConfig | CLIPVisionConfig, *, output_attentions: bool) -> str:
    """Return the implementation of a call; see `implementation_of_call`."""
    name = check_implementation(config.attn_implementation)
    return implementation_of_call(name, output_attentions=output_attentions)


def text_plan(implementation: str, attention_mask: tf.Tensor | None, hidden_states: tf.Tensor) -> AttentionPlan:
    """Plan causal attention that leaves out the padding in `attention_mask`.

    Args:
        implementation: the attention implementation that will follow the plan.
        attention_mask: `(batch, seq)`, non-zero for tokens to attend to; None if nothing is padded.
        hidden_states: `(batch, seq, hidden)`, for shape and dtype.
    """
    bias = causal_bias(tf.shape(hidden_states)[1], hidden_states.dtype)
    if attention_mask is None:
        return AttentionPlan(implementation, bias=bias)
    if attention_mask.shape.rank is not None:  # a graph may not know it
        check_mask_shape(attention_mask.shape, hidden_states.shape[:2])
    attended = tf.not_equal(attention_mask, tf.zeros((), attention_mask.dtype))  # (batch, seq)
    padding_bias = lowest_where(tf.logical_not(attended), hidden_states.dtype)
    return _biased_plan(implementation, bias + padding_bias[:, None, None, :])  # (batch, 1, seq, seq)


def given_plan(
    config: CLIPTextConfig | CLIPVisionConfig,
    masks: tuple[tf.Tensor | None, ...],
    hidden_states: tf.Tensor,
    *,
    output_attentions: bool,
) -> AttentionPlan:
    """Plan the attention of a part of the model that is called on its own.

    Args:
        config: the tower's configuration.
        masks: biases `(batch or 1, 1, seq or 1, seq)`; or booleans of that shape, or any `(batch, seq)` array, that
            are non-zero for keys to attend to. None means no mask.
        hidden_states: `(batch, seq, hidden)`, for the dtype.
        output_attentions: True if the call returns the attention weights.
    """
    implementation = choose_implementation(config, output_attentions=output_attentions)
    biases = [_as_bias(tf.convert_to_tensor(mask), hidden_states.dtype) for mask in masks if mask is not None]
    if not biases:
        return AttentionPlan(implementation)
    return _biased_plan(implementation, sum(biases[1:], start=biases[0]))


def _biased_plan(implementation: str, bias: tf.Tensor) -> AttentionPlan:
    lowest = tf.constant(bias.dtype.min, bias.dtype)
    keyless = tf.reduce_all(bias <= lowest, axis=-1, keepdims=True)  # (batch or 1, 1, seq, 1)
    bias = bias - lowest_where(keyless, bias.dtype)
    # oneDNN does not transpose booleans on every CPU, and TensorFlow then logs an error.
    by_query = tf.transpose(tf.cast(keyless, tf.int8), (0, 2, 1, 3))
    return AttentionPlan(implementation, bias=bias, keyless=tf.cast(by_query, tf.bool))


def lowest_where(masked: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Return a bias: the lowest value of a dtype where a key is masked, and zero elsewhere."""
    return tf.where(masked, tf.constant(dtype.min, dtype), tf.zeros((), dtype))


def causal_bias(seq: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Return the bias `(1, 1, seq, seq)` that masks the keys after each query."""
    seen = tf.linalg.band_part(tf.ones((seq, seq), tf.bool), -1, 0)
    return lowest_where(tf.logical_not(seen), dtype)[None, None]


def _as_bias(mask: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    masked = tf.logical_not(tf.cast(mask, tf.bool))
    if mask.shape.rank == 2:
        return lowest_where(masked, dtype)[:, None, None, :]
    if not mask.dtype.is_floating:
        return lowest_where(masked, dtype)
    return tf.maximum(tf.cast(mask, dtype), tf.constant(dtype.min, dtype))
