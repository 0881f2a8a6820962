"""Multi-head self-attention, in two implementations that agree.

`eager` is the only one that returns the attention weights. `sdpa` computes the same without returning them: TensorFlow
has no attention kernel, and `keras.ops.dot_product_attention` computes the same products with `einsum`, which takes a
quarter to a third longer on a CPU.

See `clip_core.modeling.attention` for the masks, and for queries that see no key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from clip_core.modeling.pruning import prune_projections
from clip_tf.initialization import CLIPLayer, linear
from clip_tf.plan import AttentionPlan, given_plan
from clip_tf.tensors import at_least_float32

if TYPE_CHECKING:
    from collections.abc import Iterable

    import keras
    import numpy as np

    from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig


# The two implementations. query, key, value and the output are (batch, seq, heads, head_dim).
AttentionOutput = tuple[tf.Tensor, "tf.Tensor | None"]
Dropout = Callable[[tf.Tensor], tf.Tensor]


def eager_attention(
    query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, plan: AttentionPlan, *, scale: float, dropout: Dropout | None
) -> AttentionOutput:
    """Compute attention as defined, and also return the attention weights `(batch, heads, seq, seq)`."""
    query, key, value = (tf.transpose(states, (0, 2, 1, 3)) for states in (query, key, value))
    scores = tf.matmul(query, key, transpose_b=True) * scale  # (batch, heads, seq, seq)
    if plan.bias is not None:
        scores = scores + plan.bias
    attention_weights = tf.cast(tf.nn.softmax(at_least_float32(scores), axis=-1), query.dtype)
    if plan.probe is not None:
        attention_weights = attention_weights + plan.probe
    if dropout is not None:
        attention_weights = dropout(attention_weights)
    return tf.transpose(tf.matmul(attention_weights, value), (0, 2, 1, 3)), attention_weights


def sdpa_attention(
    query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, plan: AttentionPlan, *, scale: float, dropout: Dropout | None
) -> AttentionOutput:
    """Attend like `eager_attention`, but drop the attention weights."""
    return eager_attention(query, key, value, plan, scale=scale, dropout=dropout)[0], None


_ATTENTION: dict[str, Callable[..., AttentionOutput]] = {"eager": eager_attention, "sdpa": sdpa_attention}


def attend(
    query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, plan: AttentionPlan, *, scale: float, dropout: Dropout | None
) -> AttentionOutput:
    """Attend with the implementation in the plan."""
    if plan.keyless is not None:
        query = tf.where(plan.keyless, tf.zeros((), query.dtype), query)
    return _ATTENTION[plan.implementation](query, key, value, plan, scale=scale, dropout=dropout)


class CLIPAttention(CLIPLayer):
    """Multi-head self-attention with biased projections (Vaswani et al. 2017).

    Args:
        config: the tower's configuration.
        layer_index: index of this layer, the key of its heads in `config.pruned_heads`.
        **kwargs: `name` and `dtype`, as for every Keras layer.
    """

    def __init__(self, config: CLIPTextConfig | CLIPVisionConfig, layer_index: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.embed_dim = width = config.hidden_size
        self.head_dim = width // config.num_attention_heads
        self.num_heads = config.num_attention_heads - len(config.pruned_heads.get(layer_index, ()))
        self.scale = self.head_dim**-0.5
        self.dropout = config.attention_dropout
        self.is_causal = False  # as in transformers; the masks decide

        in_std = width**-0.5 * (2 * config.num_hidden_layers) ** -0.5 * config.initializer_factor
        out_std = width**-0.5 * config.initializer_factor
        inner, dtype = self.num_heads * self.head_dim, self.dtype_policy
        self.k_proj = linear(width, inner, std=in_std, name="k_proj", dtype=dtype)
        self.v_proj = linear(width, inner, std=in_std, name="v_proj", dtype=dtype)
        self.q_proj = linear(width, inner, std=in_std, name="q_proj", dtype=dtype)
        self.out_proj = linear(inner, width, std=out_std, name="out_proj", dtype=dtype)

    def call(
        self,
        hidden_states: tf.Tensor,
        attention_mask: tf.Tensor | None = None,
        causal_attention_mask: tf.Tensor | None = None,
        output_attentions: bool = False,
        plan: AttentionPlan | None = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> AttentionOutput:
        """Attend within each sequence.

        Args:
            hidden_states: `(batch, seq, hidden)`.
            attention_mask: a mask as in `given_plan`; None if nothing is padded.
            causal_attention_mask: a mask as in `given_plan`; None if every token attends to all tokens.
            output_attentions: return the attention weights.
            plan: the implementation, and the keys that each query sees; replaces the masks.
            dropout_seed: `(2,)`, to drop attention weights.

        Returns:
            The output `(batch, seq, hidden)`, and the attention weights `(batch, heads, seq, seq)` or None.
        """
        if plan is None:
            masks = (attention_mask, causal_attention_mask)
            plan = given_plan(self.config, masks, hidden_states, output_attentions=output_attentions)
        batch, seq = hidden_states.shape[0], hidden_states.shape[1]
        # Static sizes if known, otherwise the sizes in the graph.
        lead = (-1 if batch is None else batch, tf.shape(hidden_states)[1] if seq is None else seq)
        heads = (*lead, self.num_heads, self.head_dim)
        query = tf.reshape(self.q_proj(hidden_states), heads)  # (batch, seq, heads, head_dim)
        key = tf.reshape(self.k_proj(hidden_states), heads)
        value = tf.reshape(self.v_proj(hidden_states), heads)
        dropout = None if dropout_seed is None else self._dropout(dropout_seed)
        attended, attention_weights = attend(query, key, value, plan, scale=self.scale, dropout=dropout)
        attended = self.out_proj(tf.reshape(attended, (*lead, self.num_heads * self.head_dim)))
        return attended, attention_weights if output_attentions else None

    def _dropout(self, seed: tf.Tensor) -> Dropout:
        return lambda states: tf.nn.experimental.stateless_dropout(states, rate=self.dropout, seed=seed)

    def prune_heads(self, heads: Iterable[int]) -> None:
        """Remove heads, given by their index among the remaining ones."""
        prune_projections(self, heads, _keep)


def _keep(attention: CLIPAttention, name: str, features: np.ndarray, *, of_outputs: bool) -> None:
    """Reduce a linear layer to some of its outputs or inputs."""
    layer: keras.layers.Dense = getattr(attention, name)
    kernel = tf.gather(layer.kernel, features, axis=1 if of_outputs else 0)
    smaller = linear(*kernel.shape, std=0.0, name=layer.name, dtype=layer.dtype_policy)
    smaller.build((None, kernel.shape[0]))
    smaller.kernel.assign(kernel)
    smaller.bias.assign(tf.gather(layer.bias, features) if of_outputs else layer.bias)
    smaller.trainable = layer.trainable
    attention.exchange(name, smaller)
