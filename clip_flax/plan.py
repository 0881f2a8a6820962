"""The plan of a tower's attention: the implementation, and the keys each query sees. Made once for all layers.

Masks, and queries that see no key: see `clip_core.modeling.attention`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
from jax import Array

from clip_core.modeling.attention import DEFAULT_IMPLEMENTATION, known_implementation, warn_of_eager

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig

ATTENTION_IMPLEMENTATIONS = ("eager", "sdpa")


class AttentionPlan(NamedTuple):
    """The attention of a tower's layers: the implementation, and the keys each query sees; shared by all layers."""

    implementation: str = DEFAULT_IMPLEMENTATION
    is_causal: bool = False  # causal without a bias
    bias: Array | None = None  # (batch or 1, 1, seq, seq), added to the scores
    keyless: Array | None = None  # (batch or 1, seq or 1, 1, 1) bool, the queries that see no key


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


def text_plan(implementation: str, attention_mask: Array | None, hidden_states: Array) -> AttentionPlan:
    """Plan causal attention that leaves out the padding in `attention_mask`.

    Args:
        implementation: the attention implementation that will follow the plan.
        attention_mask: `(batch, seq)`, non-zero for tokens to attend to; None if nothing is padded.
        hidden_states: `(batch, seq, hidden)`, for shape and dtype.
    """
    batch, seq, _ = hidden_states.shape
    dtype = hidden_states.dtype
    if attention_mask is None:
        if implementation == "eager":
            return AttentionPlan(implementation, bias=causal_bias(seq, dtype))
        return AttentionPlan(implementation, is_causal=True)
    if attention_mask.shape != (batch, seq):
        raise ValueError(
            f"attention_mask has shape {tuple(attention_mask.shape)}; it needs that of input_ids, {(batch, seq)}"
        )
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
    """Plan the attention of a part of the model that is called alone; for masks see `given_bias`."""
    implementation = choose_implementation(config, output_attentions=output_attentions)
    bias = given_bias(masks, hidden_states.dtype)
    return AttentionPlan(implementation) if bias is None else _biased_plan(implementation, bias)


def _biased_plan(implementation: str, bias: Array) -> AttentionPlan:
    keyless = keyless_queries(bias)  # (batch or 1, 1, seq, 1)
    bias = bias - lowest_where(keyless, bias.dtype)
    return AttentionPlan(implementation, bias=bias, keyless=keyless.swapaxes(1, 2))


def lowest_where(masked: Array, dtype: DTypeLike) -> Array:
    """Return a bias: the lowest value of a dtype where a key is masked, and zero elsewhere."""
    return jnp.where(masked, jnp.finfo(dtype).min, jnp.zeros((), dtype))


def causal_bias(seq: int, dtype: DTypeLike) -> Array:
    """Return the bias `(1, 1, seq, seq)` that masks the keys behind each query."""
    seen = jnp.tril(jnp.ones((seq, seq), bool))
    return lowest_where(~seen, dtype)[None, None]


def given_bias(masks: tuple[Array | None, ...], dtype: DTypeLike) -> Array | None:
    """Return the sum of masks that the caller of a layer gives; None if there is none.

    Args:
        masks: biases `(batch or 1, 1, seq or 1, seq)`; or booleans of this shape, or anything `(batch, seq)`, which are
            non-zero for keys to attend to.
        dtype: of the bias.
    """
    biases = [_as_bias(jnp.asarray(mask), dtype) for mask in masks if mask is not None]
    return sum(biases[1:], start=biases[0]) if biases else None


def _as_bias(mask: Array, dtype: DTypeLike) -> Array:
    if mask.ndim == 2:
        return lowest_where(mask == 0, dtype)[:, None, None, :]
    if not jnp.issubdtype(mask.dtype, jnp.floating):
        return lowest_where(mask == 0, dtype)
    return jnp.maximum(mask.astype(dtype), jnp.finfo(dtype).min)


def keyless_queries(bias: Array) -> Array:
    """Return which queries see no key by a bias `(batch or 1, 1, seq, seq)`: `(batch or 1, 1, seq, 1)`, bool."""
    return (bias <= jnp.finfo(bias.dtype).min).all(axis=-1, keepdims=True)
