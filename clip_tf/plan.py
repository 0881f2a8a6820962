"""The plan of a tower's attention: the implementation, and the keys each query sees. Made once for all layers.

Masks, and queries that see no key: see `clip_core.modeling.attention`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import tensorflow as tf

from clip_core.modeling.attention import DEFAULT_IMPLEMENTATION, known_implementation, warn_of_eager

if TYPE_CHECKING:
    from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig

ATTENTION_IMPLEMENTATIONS = ("eager", "sdpa")


# Not a tuple: Keras would flatten it, and rejects arguments that mix tensors with anything else.
@dataclass(frozen=True, eq=False)
class AttentionPlan:
    """The attention of a tower's layers: the implementation, and the keys each query sees; shared by all layers."""

    implementation: str = DEFAULT_IMPLEMENTATION
    bias: tf.Tensor | None = None  # (batch or 1, 1, seq, seq), added to the scores
    keyless: tf.Tensor | None = None  # (batch or 1, 1, seq, 1) bool, the queries that see no key


def check_implementation(name: str | None) -> str:
    """Return the attention implementation by name; see `known_implementation`."""
    return known_implementation(name, ATTENTION_IMPLEMENTATIONS)


def choose_implementation(config: CLIPTextConfig | CLIPVisionConfig, *, output_attentions: bool) -> str:
    """Return the configured implementation, or `eager`, with one warning, if the weights are requested."""
    name = check_implementation(config.attn_implementation)
    if not output_attentions:
        return name
    warn_of_eager(name)
    return "eager"


def vision_plan(implementation: str) -> AttentionPlan:
    """Plan attention in which every patch sees every patch."""
    return AttentionPlan(implementation)


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
    if not attention_mask.shape.is_compatible_with(hidden_states.shape[:2]):
        expected = tuple(hidden_states.shape[:2])
        raise ValueError(
            f"attention_mask has shape {tuple(attention_mask.shape)}; it needs that of input_ids, {expected}"
        )
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
    """Plan the attention of a part of the model that is called alone; for masks see `given_bias`."""
    implementation = choose_implementation(config, output_attentions=output_attentions)
    bias = given_bias(masks, hidden_states.dtype)
    return AttentionPlan(implementation) if bias is None else _biased_plan(implementation, bias)


def _biased_plan(implementation: str, bias: tf.Tensor) -> AttentionPlan:
    keyless = keyless_queries(bias)  # (batch or 1, 1, seq, 1)
    return AttentionPlan(implementation, bias=bias - lowest_where(keyless, bias.dtype), keyless=keyless)


def lowest_where(masked: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Return a bias: the lowest value of a dtype where a key is masked, and zero elsewhere."""
    return tf.where(masked, tf.constant(dtype.min, dtype), tf.zeros((), dtype))


def causal_bias(seq: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Return the bias `(1, 1, seq, seq)` that masks the keys behind each query."""
    seen = tf.linalg.band_part(tf.ones((seq, seq), tf.bool), -1, 0)
    return lowest_where(tf.logical_not(seen), dtype)[None, None]


def given_bias(masks: tuple[tf.Tensor | None, ...], dtype: tf.DType) -> tf.Tensor | None:
    """Return the sum of masks that the caller of a layer gives; None if there is none.

    Args:
        masks: biases `(batch or 1, 1, seq or 1, seq)`; or booleans of this shape, or anything `(batch, seq)`, which are
            non-zero for keys to attend to.
        dtype: of the bias.
    """
    biases = [_as_bias(tf.convert_to_tensor(mask), dtype) for mask in masks if mask is not None]
    return sum(biases[1:], start=biases[0]) if biases else None


def _as_bias(mask: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    masked = tf.logical_not(tf.cast(mask, tf.bool))
    if mask.shape.rank == 2:
        return lowest_where(masked, dtype)[:, None, None, :]
    if not mask.dtype.is_floating:
        return lowest_where(masked, dtype)
    return tf.maximum(tf.cast(mask, dtype), tf.constant(dtype.min, dtype))


def keyless_queries(bias: tf.Tensor) -> tf.Tensor:
    """Return which queries see no key by a bias `(batch or 1, 1, seq, seq)`: `(batch or 1, 1, seq, 1)`, bool."""
    return tf.reduce_all(bias <= tf.constant(bias.dtype.min, bias.dtype), axis=-1, keepdims=True)
