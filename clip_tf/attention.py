"""Multi-head self-attention, two implementations that give the same numbers.

`eager` spells the arithmetic out and is the only one that returns the attention weights. `sdpa` is the same without
them: TensorFlow has no kernel for attention, and what Keras has in its place, `keras.ops.dot_product_attention`, makes
the same products by `einsum`, which takes a quarter to a third longer on a CPU.

Masks. The text tower is causal, and its batch may be padded. Like transformers 4.57.6 for PyTorch, both add one bias
for each of the two, the lowest finite number of the dtype where a key is masked. A query none of whose keys are left
thus attends evenly to what is masked only once, and no row is ever NaN. A row that is all padding is treated as if it
had none while its queries count as zero: that is the reference's even attention forward, and sound backward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from clip_core.modeling.attention import DEFAULT_IMPLEMENTATION, known_implementation, warn_of_eager
from clip_tf.initialization import CLIPLayer, linear
from clip_tf.tensors import at_least_float32

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import keras

    from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig

ATTENTION_IMPLEMENTATIONS = ("eager", "sdpa")


# Not a tuple: Keras would take it apart, and refuses an argument that mixes tensors with what is none.
@dataclass(frozen=True, eq=False)
class AttentionMask:
    """What a tower's layers need to know about which key may be seen; made once for all layers."""

    implementation: str = DEFAULT_IMPLEMENTATION
    bias: tf.Tensor | None = None  # (batch or 1, 1, seq, seq), added to the scores
    empty_rows: tf.Tensor | None = None  # (batch, 1, 1, 1) bool, the rows that are all padding


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


def text_mask(implementation: str, attention_mask: tf.Tensor | None, hidden_states: tf.Tensor) -> AttentionMask:
    """The causal mask, and the padding that `attention_mask` tells of.

    Args:
        implementation: the attention implementation that will read the mask.
        attention_mask: `(batch, seq)`, non-zero for tokens to attend to; None where nothing is padded.
        hidden_states: `(batch, seq, hidden)`, for shape and dtype.
    """
    causal_bias = _causal_bias(tf.shape(hidden_states)[1], hidden_states.dtype)
    if attention_mask is None:
        return AttentionMask(implementation, bias=causal_bias)
    if not attention_mask.shape.is_compatible_with(hidden_states.shape[:2]):
        expected = tuple(hidden_states.shape[:2])
        raise ValueError(f"attention_mask has shape {tuple(attention_mask.shape)}; input_ids say {expected}")
    attended = tf.not_equal(attention_mask, tf.zeros((), attention_mask.dtype))  # (batch, seq)
    empty = tf.logical_not(tf.reduce_any(attended, axis=-1, keepdims=True))  # (batch, 1)
    attended = tf.logical_or(attended, empty)
    padding_bias = _lowest_where(tf.logical_not(attended), hidden_states.dtype)
    # The sum is -inf where a key is masked twice, as in the reference; the diagonal never is, so no row is all -inf.
    bias = causal_bias + padding_bias[:, None, None, :]  # (batch, 1, seq, seq)
    return AttentionMask(implementation, bias=bias, empty_rows=empty[:, :, None, None])


def _causal_bias(seq: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    seen = tf.linalg.band_part(tf.ones((seq, seq), tf.bool), -1, 0)
    return _lowest_where(tf.logical_not(seen), dtype)[None, None]  # (1, 1, seq, seq)


def _lowest_where(masked: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    return tf.where(masked, tf.constant(dtype.min, dtype), tf.zeros((), dtype))


# The two implementations. query, key, value and the output are (batch, seq, heads, head_dim).
AttentionOutput = tuple[tf.Tensor, "tf.Tensor | None"]


def eager_attention(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    mask: AttentionMask,
    *,
    scale: float | tf.Tensor,
    dropout: Callable[[tf.Tensor], tf.Tensor] | None,
) -> AttentionOutput:
    """Attention written out; returns the weights `(batch, heads, seq, seq)` too."""
    query, key, value = (tf.transpose(states, (0, 2, 1, 3)) for states in (query, key, value))
    scores = tf.matmul(query, key, transpose_b=True) * scale  # (batch, heads, seq, seq)
    if mask.bias is not None:
        scores = scores + mask.bias
    weights = tf.cast(tf.nn.softmax(at_least_float32(scores), axis=-1), query.dtype)
    if dropout is not None:
        weights = dropout(weights)
    return tf.transpose(tf.matmul(weights, value), (0, 2, 1, 3)), weights


def sdpa_attention(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    mask: AttentionMask,
    *,
    scale: float | tf.Tensor,
    dropout: Callable[[tf.Tensor], tf.Tensor] | None,
) -> AttentionOutput:
    """Attention written out, none of whose weights is kept."""
    return eager_attention(query, key, value, mask, scale=scale, dropout=dropout)[0], None


_ATTENTION: dict[str, Callable[..., AttentionOutput]] = {"eager": eager_attention, "sdpa": sdpa_attention}


def attend(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    mask: AttentionMask,
    *,
    scale: float,
    dropout: Callable[[tf.Tensor], tf.Tensor] | None,
) -> AttentionOutput:
    """Attention by the implementation that the mask was made for."""
    factor: float | tf.Tensor = scale
    if mask.empty_rows is not None:  # no scores where the queries count as zero; to replace those were one pass more
        factor = tf.where(mask.empty_rows, tf.zeros((), query.dtype), tf.constant(scale, query.dtype))
    return _ATTENTION[mask.implementation](query, key, value, mask, scale=factor, dropout=dropout)


class CLIPAttention(CLIPLayer):
    """Multi-head self-attention with biased projections (Vaswani et al. 2017).

    Args:
        config: the tower's configuration.
        layer_index: which layer this is; `config.pruned_heads` names heads by layer.
        **kwargs: what every Keras layer takes: `name`, `dtype`.
    """

    def __init__(self, config: CLIPTextConfig | CLIPVisionConfig, layer_index: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        width = config.hidden_size
        self.head_dim = width // config.num_attention_heads
        self.num_heads = config.num_attention_heads - len(config.pruned_heads.get(layer_index, ()))
        self.scale = self.head_dim**-0.5
        self.dropout = config.attention_dropout

        in_std = width**-0.5 * (2 * config.num_hidden_layers) ** -0.5 * config.initializer_factor
        out_std = width**-0.5 * config.initializer_factor
        inner, dtype = self.num_heads * self.head_dim, self.dtype_policy
        self.k_proj = linear(width, inner, std=in_std, name="k_proj", dtype=dtype)
        self.v_proj = linear(width, inner, std=in_std, name="v_proj", dtype=dtype)
        self.q_proj = linear(width, inner, std=in_std, name="q_proj", dtype=dtype)
        self.out_proj = linear(inner, width, std=out_std, name="out_proj", dtype=dtype)

    def call(
        self, hidden_states: tf.Tensor, attention_mask: AttentionMask, dropout_seed: tf.Tensor | None = None
    ) -> AttentionOutput:
        """Attend within each sequence.

        Args:
            hidden_states: `(batch, seq, hidden)`.
            attention_mask: which keys may be seen.
            dropout_seed: `(2,)`, where weights are to be dropped.

        Returns:
            The output `(batch, seq, hidden)`, and with `eager` the weights `(batch, heads, seq, seq)`.
        """
        batch, seq = hidden_states.shape[0], hidden_states.shape[1]
        # Static where they are known, else as the graph finds them.
        lead = (-1 if batch is None else batch, tf.shape(hidden_states)[1] if seq is None else seq)
        heads = (*lead, self.num_heads, self.head_dim)
        query = tf.reshape(self.q_proj(hidden_states), heads)  # (batch, seq, heads, head_dim)
        key = tf.reshape(self.k_proj(hidden_states), heads)
        value = tf.reshape(self.v_proj(hidden_states), heads)
        dropout = None if dropout_seed is None else self._dropout(dropout_seed)
        attended, weights = attend(query, key, value, attention_mask, scale=self.scale, dropout=dropout)
        return self.out_proj(tf.reshape(attended, (*lead, self.num_heads * self.head_dim))), weights

    def _dropout(self, seed: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor]:
        return lambda weights: tf.nn.experimental.stateless_dropout(weights, rate=self.dropout, seed=seed)

    def prune_heads(self, heads: Iterable[int]) -> None:
        """Remove heads, given by their place among the heads that are left."""
        removed = set(heads)
        kept = [head for head in range(self.num_heads) if head not in removed]
        index = tf.reshape(tf.reshape(tf.range(self.num_heads * self.head_dim), (self.num_heads, -1)).numpy()[kept], -1)
        for name in ("k_proj", "v_proj", "q_proj"):
            self.exchange(name, _kept(getattr(self, name), index, axis=1))
        self.exchange("out_proj", _kept(self.out_proj, index, axis=0))
        self.num_heads = len(kept)


def _kept(layer: keras.layers.Dense, index: tf.Tensor, *, axis: int) -> keras.layers.Dense:
    """A linear layer with some of the outputs (axis 1) or inputs (axis 0) of another."""
    kernel = tf.gather(layer.kernel, index, axis=axis)
    smaller = linear(*kernel.shape, std=0.0, name=layer.name, dtype=layer.dtype_policy)
    smaller.build((None, kernel.shape[0]))
    smaller.kernel.assign(kernel)
    smaller.bias.assign(tf.gather(layer.bias, index) if axis == 1 else layer.bias)
    smaller.trainable = layer.trainable
    return smaller
