"""Multi-head self-attention, in two implementations that agree.

`eager` is written out and is the only one that can return the attention weights; `sdpa` calls
`jax.nn.dot_product_attention`, on a GPU with cuDNN's FlashAttention if that supports the arguments.

See `clip_core.modeling.attention` for the masks, and for queries that see no key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from clip_core.modeling.pruning import prune_projections
from clip_flax.initialization import CLIPModule, linear
from clip_flax.plan import AttentionPlan, causal_bias, given_plan
from clip_flax.tensors import at_least_float32

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import DTypeLike

    from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig


# The two implementations. query, key, value and the output are (batch, seq, heads, head_dim).
AttentionOutput = tuple[Array, Array | None]
Dropout = Callable[[Array], Array]


def eager_attention(
    query: Array, key: Array, value: Array, plan: AttentionPlan, *, scale: float, dropout: Dropout | None
) -> AttentionOutput:
    """Compute attention as defined, and also return the attention weights `(batch, heads, seq, seq)`."""
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key, precision=None) * scale
    if plan.is_causal:
        scores = scores + causal_bias(scores.shape[-1], scores.dtype)
    if plan.bias is not None:
        scores = scores + plan.bias
    attention_weights = jax.nn.softmax(at_least_float32(scores), axis=-1).astype(query.dtype)
    if plan.probe is not None:
        attention_weights = attention_weights + plan.probe
    if dropout is not None:
        attention_weights = dropout(attention_weights)
    return jnp.einsum("bhqk,bkhd->bqhd", attention_weights, value, precision=None), attention_weights


def sdpa_attention(
    query: Array, key: Array, value: Array, plan: AttentionPlan, *, scale: float, dropout: Dropout | None
) -> AttentionOutput:
    """Attend with `jax.nn.dot_product_attention` if it supports the arguments, otherwise with `eager_attention`.

    That function has no dropout, takes float16 only on a GPU, and computes the softmax of float64 in float32, where the
    lowest number of float64 is -inf.
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
    """Return True if cuDNN's kernel supports this; JAX does not choose it automatically. Its bias must not be -inf."""
    fits = query.dtype in (jnp.float16, jnp.bfloat16) and query.shape[-1] % 8 == 0 and query.shape[-1] <= 128
    return fits and plan.bias is None and jax.default_backend() == "gpu"


_ATTENTION: dict[str, Callable[..., AttentionOutput]] = {"eager": eager_attention, "sdpa": sdpa_attention}


def attend(
    query: Array, key: Array, value: Array, plan: AttentionPlan, *, scale: float, dropout: Dropout | None
) -> AttentionOutput:
    """Attend with the implementation in the plan."""
    if plan.keyless is not None:
        query = jnp.where(plan.keyless, jnp.zeros((), query.dtype), query)
    return _ATTENTION[plan.implementation](query, key, value, plan, scale=scale, dropout=dropout)


class CLIPAttention(CLIPModule):
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
        super().__init__(config)
        width = self.embed_dim
        self.head_dim = width // config.num_attention_heads
        self.num_heads = config.num_attention_heads - len(config.pruned_heads.get(layer_index, ()))
        self.scale = self.head_dim**-0.5
        self.dropout = config.attention_dropout
        self.is_causal = False  # as in transformers; the masks decide

        in_std = width**-0.5 * (2 * config.num_hidden_layers) ** -0.5 * config.initializer_factor
        out_std = width**-0.5 * config.initializer_factor
        inner = self.num_heads * self.head_dim
        self.k_proj = linear(width, inner, std=in_std, rngs=rngs, dtype=dtype)
        self.v_proj = linear(width, inner, std=in_std, rngs=rngs, dtype=dtype)
        self.q_proj = linear(width, inner, std=in_std, rngs=rngs, dtype=dtype)
        self.out_proj = linear(inner, width, std=out_std, rngs=rngs, dtype=dtype)

    def __call__(
        self,
        hidden_states: Array,
        attention_mask: Array | None = None,
        causal_attention_mask: Array | None = None,
        output_attentions: bool = False,
        plan: AttentionPlan | None = None,
        dropout_rng: Array | None = None,
    ) -> AttentionOutput:
        """Attend within each sequence.

        Args:
            hidden_states: `(batch, seq, hidden)`.
            attention_mask: a mask as in `given_plan`; None if nothing is padded.
            causal_attention_mask: a mask as in `given_plan`; None if every token attends to all tokens.
            output_attentions: return the attention weights.
            plan: the implementation, and the keys that each query sees; replaces the masks.
            dropout_rng: a key, to drop attention weights.

        Returns:
            The output `(batch, seq, hidden)`, and the attention weights `(batch, heads, seq, seq)` or None.
        """
        if plan is None:
            masks = (attention_mask, causal_attention_mask)
            plan = given_plan(self.config, masks, hidden_states, output_attentions=output_attentions)
        heads = (*hidden_states.shape[:2], self.num_heads, self.head_dim)
        query = self.q_proj(hidden_states).reshape(heads)  # (batch, seq, heads, head_dim)
        key = self.k_proj(hidden_states).reshape(heads)
        value = self.v_proj(hidden_states).reshape(heads)
        dropout = None if dropout_rng is None or self.dropout == 0 else self._dropout(dropout_rng)
        attended, attention_weights = attend(query, key, value, plan, scale=self.scale, dropout=dropout)
        attended = self.out_proj(attended.reshape(*heads[:2], self.num_heads * self.head_dim))
        return attended, attention_weights if output_attentions else None

    def _dropout(self, rng: Array) -> Dropout:
        dropout = nnx.Dropout(rate=self.dropout, deterministic=False)
        return lambda states: dropout(states, rngs=rng)

    def prune_heads(self, heads: Iterable[int]) -> None:
        """Remove heads, given by their index among the remaining ones."""
        prune_projections(self, heads, _keep)


def _keep(attention: CLIPAttention, name: str, features: np.ndarray, *, of_outputs: bool) -> None:
    """Reduce a linear layer to some of its outputs or inputs."""
    layer: nnx.Linear = getattr(attention, name)
    layer.kernel = nnx.Param(jnp.take(layer.kernel.get_value(), features, axis=1 if of_outputs else 0))
    if of_outputs:
        layer.bias = nnx.Param(jnp.take(layer.bias.get_value(), features, axis=0))
    layer.in_features, layer.out_features = layer.kernel.shape
