"""The plan of a tower's attention, made once for all layers: the implementation, and the keys that each query sees.

See `clip_core.modeling.attention` for the masks, and for queries that see no key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
from jax import Array

from clip_core.modeling.attention import DEFAULT_IMPLEMENTATION, implementation_of_call, known_implementation
from clip_core.modeling.inputs import check_mask_shape
from clip_flax.arrays import framework

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig

ATTENTION_IMPLEMENTATIONS = framework.attention_implementations


class AttentionPlan(NamedTuple):
    """The attention of all layers of a tower: the implementation, and the keys that each query sees."""

    implementation: str = DEFAULT_IMPLEMENTATION
    is_causal: bool = False  # causal without a bias
    bias: Array | None = None  # (batch or 1, 1, seq, seq), added to the scores
    keyless: Array | None = None  # (batch or 1, seq or 1, 1, 1) bool, the queries that see no key
    probe: Array | None = None  # (batch, heads, seq, seq), added to the attention weights, for gradients


def check_implementation(name: str | None) -> str:
    """Return the attention implementation by name; see `known_implementation`."""
    return known_implementation(name, ATTENTION_IMPLEMENTATIONS)


def choose_implementation(config: CLIPTextConfig | CLIPVisionConfig, *, output_attentions: bool) -> str:
    """Return the implementation of a call; see `implementation_of_call`."""
    name = check_implementation(config.attn_implementation)
    return implementation_of_call(name, output_attentions=output_attentions)


def text_plan(implementation: str, attention_mask: Array | None, hidden_states: Array) -> AttentionPlan:
    """Plan causal attention that leaves out the padding in `attention_mask`.

    Args:
        implementation: the attention implementation that will follow the plan.
        attention_mask: `(batch, seq)`, non-zero for tokens to attend to; None if nothing is padded.
        hidden_states: `(batch, seq, hidden)`, for shape and dtype.
    """
    if attention_mask is None:
        return AttentionPlan(implementation, is_causal=True)
    batch, seq, _ = hidden_states.shape
    dtype = hidden_states.dtype
    check_mask_shape(attention_mask.shape, (batch, seq))
    attended = attention_mask != 0  # (batch, seq)
    padding_bias = lowest_where(~attended, dtype)
    return _biased_plan(implementation, causal_bias(seq, dtype) + padding_bias[:, None, None, :])


def given_plan(
    config: CLIPTextConfig | CLIPVisionConfig,
    masks: tuple[Array | None, ...],
    hidden_states: Array,
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
    biases = [_as_bias(jnp.asarray(mask), hidden_states.dtype) for mask in masks if mask is not None]
    if not biases:
        return AttentionPlan(implementation)
    return _biased_plan(implementation, sum(biases[1:], start=biases[0]))


def _biased_plan(implementation: str, bias: Array) -> AttentionPlan:
    keyless = (bias <= jnp.finfo(bias.dtype).min).all(axis=-1, keepdims=True)  # (batch or 1, 1, seq, 1)
    bias = bias - lowest_where(keyless, bias.dtype)
    return AttentionPlan(implementation, bias=bias, keyless=keyless.swapaxes(1, 2))


def lowest_where(masked: Array, dtype: DTypeLike) -> Array:
    """Return a bias: the lowest value of a dtype where a key is masked, and zero elsewhere."""
    return jnp.where(masked, jnp.finfo(dtype).min, jnp.zeros((), dtype))


def causal_bias(seq: int, dtype: DTypeLike) -> Array:
    """Return the bias `(1, 1, seq, seq)` that masks the keys after each query."""
    seen = jnp.tril(jnp.ones((seq, seq), bool))
    return lowest_where(~seen, dtype)[None, None]


def _as_bias(mask: Array, dtype: DTypeLike) -> Array:
    if mask.ndim == 2:
        return lowest_where(mask == 0, dtype)[:, None, None, :]
    if not jnp.issubdtype(mask.dtype, jnp.floating):
        return lowest_where(mask == 0, dtype)
    return jnp.maximum(mask.astype(dtype), jnp.finfo(dtype).min)
