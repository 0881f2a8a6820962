"""Multi-head self-attention, two implementations that give the same numbers.

`eager` spells the arithmetic out and is the only one that can return the attention weights; `sdpa` calls
`jax.nn.dot_product_attention`, on a GPU with cuDNN's FlashAttention where that takes what is asked.

Masks. The text tower is causal, and its batch may be padded. Like transformers 4.57.6 for PyTorch, both add one bias
for each of the two, the lowest finite number of the dtype where a key is masked. A query none of whose keys are left
thus attends evenly to what is masked only once, and no row is ever NaN. A row that is all padding is treated as if it
had none while its queries count as zero: that is the reference's even attention forward, and sound backward.
"""

from __future__ import annotations

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
    from collections.abc import Callable, Iterable

    from numpy.typing import DTypeLike

    from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig

ATTENTION_IMPLEMENTATIONS = ("eager", "sdpa")


class AttentionMask(NamedTuple):
    """What a tower's layers need to know about which key may be seen; made once for all layers."""

    implementation: str = DEFAULT_IMPLEMENTATION
    is_causal: bool = False  # causal, and no bias says so
    bias: Array | None = None  # (batch or 1, 1, seq, seq), added to the scores
    empty_rows: Array | None = None  # (batch, 1, 1, 1) bool, the rows that are all padding


def check_implementation(name: str | None) -> str:
    """The attention implementation by name; see `known_implementation`."""
    return known_implementation(name, ATTENTION_IMPLEMENTATIONS)


def choose_implementation(config: CLIPTextConfig | CLIPVisionConfig, *, output_attentions: bool) -> str:
    """The configured implementation, or `eager`, with one warning, where only it can return the weights."""
    name = check_implementation(config.attn_implementation)
    if not output_attentions:
        return name
    warn_of_eager(name)
    return "eager"


def vision_mask(implementation: str) -> AttentionMask:
    """Every patch sees every patch."""
    return AttentionMask(implementation)


def text_mask(implementation: str, attention_mask: Array | None, hidden_states: Array) -> AttentionMask:
    """The causal mask, and the padding that `attention_mask` tells of.

    Args:
        implementation: the attention implementation that will read the mask.
        attention_mask: `(batch, seq)`, non-zero for tokens to attend to; None where nothing is padded.
        hidden_states: `(batch, seq, hidden)`, for shape and dtype.
    """
    batch, seq, _ = hidden_states.shape
    dtype = hidden_states.dtype
    if attention_mask is None:
        if implementation == "eager":
            return AttentionMask(implementation, bias=_causal_bias(seq, dtype))
        return AttentionMask(implementation, is_causal=True)
    if attention_mask.shape != (batch, seq):
        raise ValueError(f"attention_mask has shape {tuple(attention_mask.shape)}; input_ids say {(batch, seq)}")
    attended = attention_mask != 0  # (batch, seq)
    empty = ~attended.any(axis=-1, keepdims=True)  # (batch, 1)
    attended = attended | empty
    # The sum is -inf where a key is masked twice, as in the reference; the diagonal never is, so no row is all -inf.
    bias = _causal_bias(seq, dtype) + _lowest_where(~attended, dtype)[:, None, None, :]  # (batch, 1, seq, seq)
    return AttentionMask(implementation, bias=bias, empty_rows=empty[:, :, None, None])


def _causal_bias(seq: int, dtype: DTypeLike) -> Array:
    seen = jnp.tril(jnp.ones((seq, seq), bool))
    return _lowest_where(~seen, dtype)[None, None]  # (1, 1, seq, seq)


def _lowest_where(masked: Array, dtype: DTypeLike) -> Array:
    return jnp.where(masked, jnp.finfo(dtype).min, jnp.zeros((), dtype))


# The two implementations. query, key, value and the output are (batch, seq, heads, head_dim).
AttentionOutput = tuple[Array, Array | None]


def eager_attention(
    query: Array,
    key: Array,
    value: Array,
    mask: AttentionMask,
    *,
    scale: float,
    dropout: Callable[[Array], Array] | None,
) -> AttentionOutput:
    """Attention written out; returns the weights `(batch, heads, seq, seq)` too."""
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key, precision=None) * scale
    if mask.is_causal:
        scores = scores + _causal_bias(scores.shape[-1], scores.dtype)
    if mask.bias is not None:
        scores = scores + mask.bias
    weights = jax.nn.softmax(at_least_float32(scores), axis=-1).astype(query.dtype)
    if dropout is not None:
        weights = dropout(weights)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, value, precision=None), weights


def sdpa_attention(
    query: Array,
    key: Array,
    value: Array,
    mask: AttentionMask,
    *,
    scale: float,
    dropout: Callable[[Array], Array] | None,
) -> AttentionOutput:
    """Attention by JAX, where it can.

    Its function knows no dropout, nor float16 but on a GPU, and takes the soft-max of float64 in float32, where the
    lowest number of float64 is -inf.
    """
    fits_cudnn = _fits_cudnn(query, mask)
    known = query.dtype in (jnp.float32, jnp.bfloat16) or fits_cudnn
    if dropout is not None or not known:
        return eager_attention(query, key, value, mask, scale=scale, dropout=dropout)[0], None
    attended = jax.nn.dot_product_attention(
        query,
        key,
        value,
        bias=mask.bias,
        scale=scale,
        is_causal=mask.is_causal,
        implementation="cudnn" if fits_cudnn else None,
    )
    return attended, None


def _fits_cudnn(query: Array, mask: AttentionMask) -> bool:
    """Whether cuDNN's kernel, which JAX does not choose by itself, takes this. It is not given biases with -inf."""
    fits = query.dtype in (jnp.float16, jnp.bfloat16) and query.shape[-1] % 8 == 0 and query.shape[-1] <= 128
    return fits and mask.bias is None and jax.default_backend() == "gpu"


_ATTENTION: dict[str, Callable[..., AttentionOutput]] = {"eager": eager_attention, "sdpa": sdpa_attention}


def attend(
    query: Array,
    key: Array,
    value: Array,
    mask: AttentionMask,
    *,
    scale: float,
    dropout: Callable[[Array], Array] | None,
) -> AttentionOutput:
    """Attention by the implementation that the mask was made for."""
    if mask.empty_rows is not None:
        query = jnp.where(mask.empty_rows, jnp.zeros((), query.dtype), query)
    return _ATTENTION[mask.implementation](query, key, value, mask, scale=scale, dropout=dropout)


class CLIPAttention(nnx.Module):
    """Multi-head self-attention with biased projections (Vaswani et al. 2017).

    Args:
        config: the tower's configuration.
        layer_index: which layer this is; `config.pruned_heads` names heads by layer.
        rngs: keys for fresh weights; None for shapes alone.
        dtype: of the computation.
    """

    def __init__(
        self,
        config: CLIPTextConfig | CLIPVisionConfig,
        layer_index: int,
        *,
        rngs: nnx.Rngs | None,
        dtype: DTypeLike,
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

    def __call__(self, hidden_states: Array, mask: AttentionMask, dropout_rng: Array | None = None) -> AttentionOutput:
        """Attend within each sequence.

        Args:
            hidden_states: `(batch, seq, hidden)`.
            mask: which keys may be seen.
            dropout_rng: a key, where weights are to be dropped.

        Returns:
            The output `(batch, seq, hidden)`, and with `eager` the weights `(batch, heads, seq, seq)`.
        """
        heads = (*hidden_states.shape[:2], self.num_heads, self.head_dim)
        query = self.q_proj(hidden_states).reshape(heads)  # (batch, seq, heads, head_dim)
        key = self.k_proj(hidden_states).reshape(heads)
        value = self.v_proj(hidden_states).reshape(heads)
        dropout = None if dropout_rng is None or self.dropout == 0 else self._dropout(dropout_rng)
        attended, weights = attend(query, key, value, mask, scale=self.scale, dropout=dropout)
        return self.out_proj(attended.reshape(*heads[:2], self.num_heads * self.head_dim)), weights

    def _dropout(self, rng: Array) -> Callable[[Array], Array]:
        dropout = nnx.Dropout(rate=self.dropout, deterministic=False)
        return lambda weights: dropout(weights, rngs=rng)

    def prune_heads(self, heads: Iterable[int]) -> None:
        """Remove heads, given by their place among the heads that are left."""
        removed = set(heads)
        kept = [head for head in range(self.num_heads) if head not in removed]
        index = np.arange(self.num_heads * self.head_dim).reshape(self.num_heads, -1)[kept].ravel()
        for projection in (self.q_proj, self.k_proj, self.v_proj):
            _keep(projection, index, axis=1)
        _keep(self.out_proj, index, axis=0)
        self.num_heads = len(kept)


def _keep(layer: nnx.Linear, index: np.ndarray, *, axis: int) -> None:
    layer.kernel = nnx.Param(jnp.take(layer.kernel.get_value(), index, axis=axis))
    if axis == 1:
        layer.bias = nnx.Param(jnp.take(layer.bias.get_value(), index, axis=0))
    layer.in_features, layer.out_features = layer.kernel.shape
