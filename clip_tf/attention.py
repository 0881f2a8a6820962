"""Multi-head self-attention, in two implementations that agree.

`eager` is the only one that returns the attention weights. `sdpa` is the same without them: TensorFlow has no kernel
for attention, and `keras.ops.dot_product_attention` computes the same products with `einsum`, which takes a quarter to
a third longer on a CPU.

Masks, and queries that see no key: see `clip_core.modeling.attention`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import tensorflow as tf

from clip_core.modeling.attention import DEFAULT_IMPLEMENTATION, known_implementation, warn_of_eager
from clip_tf.initialization import CLIPLayer, linear
from clip_tf.tensors import at_least_float32

if TYPE_CHECKING:
    from collections.abc import Iterable

    import keras

    from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig

ATTENTION_IMPLEMENTATIONS = ("eager", "sdpa")


# Not a tuple: Keras would flatten it, and rejects arguments that mix tensors with anything else.
@dataclass(frozen=True, eq=False)
class AttentionPlan:
    """The attention of a tower's layers: the implementation, and the keys each query sees; shared by all layers."""

    implementation: str = DEFAULT_IMPLEMENTATION
    bias: tf.Tensor | None = None  # (batch or 1, 1, seq, seq), added to the scores
    keyless: tf.Tensor | None = None  # (batch, 1, seq, 1) bool, the queries that see no key


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
    causal_bias = _causal_bias(tf.shape(hidden_states)[1], hidden_states.dtype)
    if attention_mask is None:
        return AttentionPlan(implementation, bias=causal_bias)
    if not attention_mask.shape.is_compatible_with(hidden_states.shape[:2]):
        expected = tuple(hidden_states.shape[:2])
        raise ValueError(
            f"attention_mask has shape {tuple(attention_mask.shape)}; it needs that of input_ids, {expected}"
        )
    attended = tf.not_equal(attention_mask, tf.zeros((), attention_mask.dtype))  # (batch, seq)
    keyless = tf.equal(tf.cumsum(tf.cast(attended, tf.int32), axis=-1), 0)[:, None, :, None]  # (batch, 1, seq, 1)
    padding_bias = _lowest_where(tf.logical_not(attended), hidden_states.dtype)
    bias = causal_bias + padding_bias[:, None, None, :]  # (batch, 1, seq, seq)
    bias = bias - _lowest_where(keyless, hidden_states.dtype)
    return AttentionPlan(implementation, bias=bias, keyless=keyless)


def _causal_bias(seq: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    seen = tf.linalg.band_part(tf.ones((seq, seq), tf.bool), -1, 0)
    return _lowest_where(tf.logical_not(seen), dtype)[None, None]  # (1, 1, seq, seq)


def _lowest_where(masked: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    return tf.where(masked, tf.constant(dtype.min, dtype), tf.zeros((), dtype))


# The two implementations. query, key, value and the output are (batch, seq, heads, head_dim).
AttentionOutput = tuple[tf.Tensor, "tf.Tensor | None"]
Scale: TypeAlias = "float | tf.Tensor"
Dropout = Callable[[tf.Tensor], tf.Tensor]


def eager_attention(
    query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, plan: AttentionPlan, *, scale: Scale, dropout: Dropout | None
) -> AttentionOutput:
    """Attend by the formula; also return the weights `(batch, heads, seq, seq)`."""
    query, key, value = (tf.transpose(states, (0, 2, 1, 3)) for states in (query, key, value))
    scores = tf.matmul(query, key, transpose_b=True) * scale  # (batch, heads, seq, seq)
    if plan.bias is not None:
        scores = scores + plan.bias
    weights = tf.cast(tf.nn.softmax(at_least_float32(scores), axis=-1), query.dtype)
    if dropout is not None:
        weights = dropout(weights)
    return tf.transpose(tf.matmul(weights, value), (0, 2, 1, 3)), weights


def sdpa_attention(
    query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, plan: AttentionPlan, *, scale: Scale, dropout: Dropout | None
) -> AttentionOutput:
    """Attend with the arithmetic written out; the weights are dropped."""
    return eager_attention(query, key, value, plan, scale=scale, dropout=dropout)[0], None


_ATTENTION: dict[str, Callable[..., AttentionOutput]] = {"eager": eager_attention, "sdpa": sdpa_attention}


def attend(
    query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, plan: AttentionPlan, *, scale: float, dropout: Dropout | None
) -> AttentionOutput:
    """Attend by the implementation in the plan."""
    factor: Scale = scale
    if plan.keyless is not None:
        factor = tf.where(plan.keyless, tf.zeros((), query.dtype), tf.constant(scale, query.dtype))
    return _ATTENTION[plan.implementation](query, key, value, plan, scale=factor, dropout=dropout)


class CLIPAttention(CLIPLayer):
    """Multi-head self-attention with biased projections (Vaswani et al. 2017).

    Args:
        config: the tower's configuration.
        layer_index: index of this layer, the key of its heads in `config.pruned_heads`.
        **kwargs: `name` and `dtype`, as for every Keras layer.
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
        self, hidden_states: tf.Tensor, plan: AttentionPlan, dropout_seed: tf.Tensor | None = None
    ) -> AttentionOutput:
        """Attend within each sequence.

        Args:
            hidden_states: `(batch, seq, hidden)`.
            plan: the implementation, and the keys each query sees.
            dropout_seed: `(2,)`, to drop attention weights.

        Returns:
            The output `(batch, seq, hidden)`, and with `eager` the weights `(batch, heads, seq, seq)`.
        """
        batch, seq = hidden_states.shape[0], hidden_states.shape[1]
        # Static sizes if known, otherwise those in the graph.
        lead = (-1 if batch is None else batch, tf.shape(hidden_states)[1] if seq is None else seq)
        heads = (*lead, self.num_heads, self.head_dim)
        query = tf.reshape(self.q_proj(hidden_states), heads)  # (batch, seq, heads, head_dim)
        key = tf.reshape(self.k_proj(hidden_states), heads)
        value = tf.reshape(self.v_proj(hidden_states), heads)
        dropout = None if dropout_seed is None else self._dropout(dropout_seed)
        attended, weights = attend(query, key, value, plan, scale=self.scale, dropout=dropout)
        return self.out_proj(tf.reshape(attended, (*lead, self.num_heads * self.head_dim))), weights

    def _dropout(self, seed: tf.Tensor) -> Dropout:
        return lambda weights: tf.nn.experimental.stateless_dropout(weights, rate=self.dropout, seed=seed)

    def prune_heads(self, heads: Iterable[int]) -> None:
        """Remove heads, given by their index among the remaining ones."""
        removed = set(heads)
        kept = [head for head in range(self.num_heads) if head not in removed]
        index = tf.reshape(tf.reshape(tf.range(self.num_heads * self.head_dim), (self.num_heads, -1)).numpy()[kept], -1)
        for name in ("k_proj", "v_proj", "q_proj"):
            _keep(self, name, index, axis=1)
        _keep(self, "out_proj", index, axis=0)
        self.num_heads = len(kept)


def _keep(attention: CLIPAttention, name: str, index: tf.Tensor, *, axis: int) -> None:
    """Reduce a linear layer to some of its outputs (axis 1) or inputs (axis 0)."""
    layer: keras.layers.Dense = getattr(attention, name)
    kernel = tf.gather(layer.kernel, index, axis=axis)
    smaller = linear(*kernel.shape, std=0.0, name=layer.name, dtype=layer.dtype_policy)
    smaller.build((None, kernel.shape[0]))
    smaller.kernel.assign(kernel)
    smaller.bias.assign(tf.gather(layer.bias, index) if axis == 1 else layer.bias)
    smaller.trainable = layer.trainable
    attention.exchange(name, smaller)
