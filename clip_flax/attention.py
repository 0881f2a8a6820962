"""Multi-head self-attention, in two implementations that agree.

`eager` is written out and is the only one that can return the attention weights; `sdpa` calls
`jax.nn.dot_product_attention`, on a GPU with cuDNN's FlashAttention if it supports the arguments.

Masks, and queries that see no key: see `clip_core.modeling.attention`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from clip_core.modeling.attention import DEFAULT_IMPLEMENTATION, known_implementation, warn_of_eager
from clip_flax.initialization import linear
from clip_flax.tensors import at_least_float32

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import DTypeLike

    from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig

ATTENTION_IMPLEMENTATIONS = ("eager", "sdpa")


class AttentionPlan(NamedTuple):
    """The attention of a tower's layers: the implementation, and the keys each query sees; shared by all layers."""

    implementation: str = DEFAULT_IMPLEMENTATION
    is_causal: bool = False  # causal without a bias
    bias: Array | None = None  # (batch or 1, 1, seq, seq), added to the scores
    keyless: Array | None = None  # (batch, seq, 1, 1) bool, the queries that see no key


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
            return AttentionPlan(implementation, bias=_causal_bias(seq, dtype))
        return AttentionPlan(implementation, is_causal=True)
    if attention_mask.shape != (batch, seq):
        raise ValueError(
            f"attention_mask has shape {tuple(attention_mask.shape)}; it needs that of input_ids, {(batch, seq)}"
        )
    attended = attention_mask != 0  # (batch, seq)
    keyless = attended.cumsum(axis=-1)[:, :, None, None] == 0  # (batch, seq, 1, 1)
    bias = _causal_bias(seq, dtype) + _lowest_where(~attended, dtype)[:, None, None, :]  # (batch, 1, seq, seq)
    bias = bias - _lowest_where(keyless.swapaxes(1, 2), dtype)
    return AttentionPlan(implementation, bias=bias, keyless=keyless)


def _causal_bias(seq: int, dtype: DTypeLike) -> Array:
    seen = jnp.tril(jnp.ones((seq, seq), bool))
    return _lowest_where(~seen, dtype)[None, None]  # (1, 1, seq, seq)


def _lowest_where(masked: Array, dtype: DTypeLike) -> Array:
    return jnp.where(masked, jnp.finfo(dtype).min, jnp.zeros((), dtype))


# The two implementations. query, key, value and the output are (batch, seq, heads, head_dim).
AttentionOutput = tuple[Array, Array | None]
Dropout = Callable[[Array], Array]


def eager_attention(
    query: Array, key: Array, value: Array, plan: AttentionPlan, *, scale: float, dropout: Dropout | None
) -> AttentionOutput:
    """Attend by the formula; also return the weights `(batch, heads, seq, seq)`."""
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key, precision=None) * scale
    if plan.is_causal:
        scores = scores + _causal_bias(scores.shape[-1], scores.dtype)
    if plan.bias is not None:
        scores = scores + plan.bias
    weights = jax.nn.softmax(at_least_float32(scores), axis=-1).astype(query.dtype)
    if dropout is not None:
        weights = dropout(weights)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, value, precision=None), weights


def sdpa_attention(
    query: Array, key: Array, value: Array, plan: AttentionPlan, *, scale: float, dropout: Dropout | None
) -> AttentionOutput:
    """Attend by `jax.nn.dot_product_attention` if it supports the arguments, otherwise by `eager_attention`.

    It has no dropout, takes float16 only on a GPU, and computes the softmax of float64 in float32, in which the lowest
    number of float64 is -inf.
    """
    fits_cudnn = _fits_cudnn(query, plan)
    known = query.dtype in (jnp.float32, jnp.bfloat16) or fits_cudnn
    if dropout is not None or not known:
        return eager_attention(query, key, value, plan, scale=scale, dropout=dropout)[0], None
    attended = jax.nn.dot_product_attention(
        query,
        key,
        value,
        bias=plan.bias,
        scale=scale,
        is_causal=plan.is_causal,
        implementation="cudnn" if fits_cudnn else None,
    )
    return attended, None


def _fits_cudnn(query: Array, plan: AttentionPlan) -> bool:
    """Return True if cuDNN's kernel, which JAX does not choose by itself, supports this. Its bias must not be -inf."""
    fits = query.dtype in (jnp.float16, jnp.bfloat16) and query.shape[-1] % 8 == 0 and query.shape[-1] <= 128
    return fits and plan.bias is None and jax.default_backend() == "gpu"


_ATTENTION: dict[str, Callable[..., AttentionOutput]] = {"eager": eager_attention, "sdpa": sdpa_attention}


def attend(
    query: Array, key: Array, value: Array, plan: AttentionPlan, *, scale: float, dropout: Dropout | None
) -> AttentionOutput:
    """Attend by the implementation in the plan."""
    if plan.keyless is not None:
        query = jnp.where(plan.keyless, jnp.zeros((), query.dtype), query)
    return _ATTENTION[plan.implementation](query, key, value, plan, scale=scale, dropout=dropout)


class CLIPAttention(nnx.Module):
    """Multi-head self-attention with biased projections (Vaswani et al. 2017).

    Args:
        config: the tower's configuration.
        layer_index: index of this layer, the key of its heads in `config.pruned_heads`.
        rngs: keys for random weights; None for shapes only.
        dtype: dtype of the computation.
    """

    def __init__(
        self, config: CLIPTextConfig | CLIPVisionConfig, layer_index: int, *, rngs: nnx.Rngs | None, dtype: DTypeLike
    ) -> None:
        width = config.hidden_size
        self.head_dim = width // config.num_attention_heads
        self.num_heads = config.num_attention_heads - len(config.pruned_heads.get(layer_index, ()))
        self.scale = self.head_dim**-0.5
        self.dropout = config.attention_dropout

        in_std = width**-0.5 * (2 * config.num_hidden_layers) ** -0.5 * config.initializer_factor
        out_std = width**-0.5 * config.initializer_factor
        inner = self.num_heads * self.head_dim
        self.k_proj = linear(width, inner, std=in_std, rngs=rngs, dtype=dtype)
        self.v_proj = linear(width, inner, std=in_std, rngs=rngs, dtype=dtype)
        self.q_proj = linear(width, inner, std=in_std, rngs=rngs, dtype=dtype)
        self.out_proj = linear(inner, width, std=out_std, rngs=rngs, dtype=dtype)

    def __call__(self, hidden_states: Array, plan: AttentionPlan, dropout_rng: Array | None = None) -> AttentionOutput:
        """Attend within each sequence.

        Args:
            hidden_states: `(batch, seq, hidden)`.
            plan: the implementation, and the keys each query sees.
            dropout_rng: a key, to drop attention weights.

        Returns:
            The output `(batch, seq, hidden)`, and with `eager` the weights `(batch, heads, seq, seq)`.
        """
        heads = (*hidden_states.shape[:2], self.num_heads, self.head_dim)
        query = self.q_proj(hidden_states).reshape(heads)  # (batch, seq, heads, head_dim)
        key = self.k_proj(hidden_states).reshape(heads)
        value = self.v_proj(hidden_states).reshape(heads)
        dropout = None if dropout_rng is None or self.dropout == 0 else self._dropout(dropout_rng)
        attended, weights = attend(query, key, value, plan, scale=self.scale, dropout=dropout)
        return self.out_proj(attended.reshape(*heads[:2], self.num_heads * self.head_dim)), weights

    def _dropout(self, rng: Array) -> Dropout:
        dropout = nnx.Dropout(rate=self.dropout, deterministic=False)
        return lambda weights: dropout(weights, rngs=rng)

    def prune_heads(self, heads: Iterable[int]) -> None:
        """Remove heads, given by their index among the remaining ones."""
        removed = set(heads)
        kept = [head for head in range(self.num_heads) if head not in removed]
        index = np.arange(self.num_heads * self.head_dim).reshape(self.num_heads, -1)[kept].ravel()
        for name in ("k_proj", "v_proj", "q_proj"):
            _keep(self, name, index, axis=1)
        _keep(self, "out_proj", index, axis=0)
        self.num_heads = len(kept)


def _keep(attention: CLIPAttention, name: str, index: np.ndarray, *, axis: int) -> None:
    """Reduce a linear layer to some of its outputs (axis 1) or inputs (axis 0)."""
    layer: nnx.Linear = getattr(attention, name)
    layer.kernel = nnx.Param(jnp.take(layer.kernel.get_value(), index, axis=axis))
    if axis == 1:
        layer.bias = nnx.Param(jnp.take(layer.bias.get_value(), index, axis=0))
    layer.in_features, layer.out_features = layer.kernel.shape
