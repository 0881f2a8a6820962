"""The transformer encoder that both towers share: pre-norm layers of attention and an MLP."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import jax
from flax import nnx
from jax import Array

from clip_core.modeling.outputs import BaseModelOutput, outputs_asked
from clip_flax.attention import CLIPAttention
from clip_flax.initialization import CLIPModule, layer_norm, linear
from clip_flax.plan import AttentionPlan, given_plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike

    from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig


def quick_gelu(states: Array) -> Array:
    """Return the approximation of GELU used to train OpenAI's CLIP: x * sigmoid(1.702 x)."""
    return states * jax.nn.sigmoid(1.702 * states)


ACTIVATION_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": partial(jax.nn.gelu, approximate=False),
    "gelu_new": partial(jax.nn.gelu, approximate=True),
    "gelu_pytorch_tanh": partial(jax.nn.gelu, approximate=True),
    "quick_gelu": quick_gelu,
    "relu": jax.nn.relu,
    "selu": jax.nn.selu,
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
}


class CLIPMLP(CLIPModule):
    """Two linear layers with the configured activation between them."""

    def __init__(self, config: CLIPTextConfig | CLIPVisionConfig, *, rngs: nnx.Rngs | None, dtype: DTypeLike) -> None:
        super().__init__(config)
        width, factor = config.hidden_size, config.initializer_factor
        self.activation_fn = ACTIVATION_FUNCTIONS[config.hidden_act]
        self.fc1 = linear(width, config.intermediate_size, std=(2 * width) ** -0.5 * factor, rngs=rngs, dtype=dtype)
        out_std = width**-0.5 * (2 * config.num_hidden_layers) ** -0.5 * factor
        self.fc2 = linear(config.intermediate_size, width, std=out_std, rngs=rngs, dtype=dtype)

    def __call__(self, hidden_states: Array) -> Array:
        """Map `(batch, seq, hidden)` to the same shape."""
        return self.fc2(self.activation_fn(self.fc1(hidden_states)))


class CLIPEncoderLayer(CLIPModule):
    """One pre-norm transformer layer."""

    def __init__(
        self, config: CLIPTextConfig | CLIPVisionConfig, layer_index: int, *, rngs: nnx.Rngs | None, dtype: DTypeLike
    ) -> None:
        super().__init__(config)
        width, epsilon = self.embed_dim, config.layer_norm_eps
        self.self_attn = CLIPAttention(config, layer_index, rngs=rngs, dtype=dtype)
        self.layer_norm1 = layer_norm(width, epsilon=epsilon, rngs=rngs, dtype=dtype)
        self.mlp = CLIPMLP(config, rngs=rngs, dtype=dtype)
        self.layer_norm2 = layer_norm(width, epsilon=epsilon, rngs=rngs, dtype=dtype)

    def __call__(
        self,
        hidden_states: Array,
        attention_mask: Array | None = None,
        causal_attention_mask: Array | None = None,
        output_attentions: bool = False,
        plan: AttentionPlan | None = None,
        dropout_rng: Array | None = None,
    ) -> tuple[Array, ...]:
        """Map `(batch, seq, hidden)` to the same shape. Takes the arguments of `CLIPAttention`.

        Returns:
            The states, and with `output_attentions` the attention weights.
        """
        states, masks = self.layer_norm1(hidden_states), (attention_mask, causal_attention_mask)
        attended, attention_weights = self.self_attn(
            states, *masks, output_attentions=output_attentions, plan=plan, dropout_rng=dropout_rng
        )
        hidden_states = hidden_states + attended
        hidden_states = hidden_states + self.mlp(self.layer_norm2(hidden_states))
        return (hidden_states,) if attention_weights is None else (hidden_states, attention_weights)


class CLIPEncoder(CLIPModule):
    """A stack of encoder layers.

    Attributes:
        gradient_checkpointing: recompute each layer in the backward pass instead of keeping its intermediate
            results; set by `gradient_checkpointing_enable`.
    """

    def __init__(self, config: CLIPTextConfig | CLIPVisionConfig, *, rngs: nnx.Rngs | None, dtype: DTypeLike) -> None:
        super().__init__(config)
        self.layers = nnx.List(
            CLIPEncoderLayer(config, index, rngs=rngs, dtype=dtype) for index in range(config.num_hidden_layers)
        )
        self.gradient_checkpointing = config.gradient_checkpointing

    def __call__(
        self,
        inputs_embeds: Array,
        attention_mask: Array | None = None,
        causal_attention_mask: Array | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        plan: AttentionPlan | None = None,
        dropout_rng: Array | None = None,
    ) -> BaseModelOutput[Array]:
        """Run the layers over `(batch, seq, hidden)`; masks, plan and key as in CLIPAttention."""
        output_attentions, output_hidden_states = outputs_asked(self.config, output_attentions, output_hidden_states)
        if plan is None:
            masks = (attention_mask, causal_attention_mask)
            plan = given_plan(self.config, masks, inputs_embeds, output_attentions=output_attentions)
        hidden_states = inputs_embeds
        all_hidden_states = [hidden_states]
        all_attentions = []
        for index, layer in enumerate(self.layers):
            rng = None if dropout_rng is None else jax.random.fold_in(dropout_rng, index)
            run = partial(layer, output_attentions=output_attentions, plan=plan, dropout_rng=rng)
            if self.gradient_checkpointing:
                run = jax.checkpoint(run)
            hidden_states, *attention_weights = run(hidden_states)
            if output_hidden_states:
                all_hidden_states.append(hidden_states)
            all_attentions += attention_weights
        return BaseModelOutput(
            last_hidden_state=hidden_states,
            hidden_states=tuple(all_hidden_states) if output_hidden_states else None,
            attentions=tuple(all_attentions) if output_attentions else None,
        )
