"""The transformer encoder that both towers share: pre-norm layers of attention and an MLP."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from clip_core.modeling.outputs import BaseModelOutput, outputs_asked
from clip_tf.attention import CLIPAttention
from clip_tf.initialization import CLIPLayer, layer_norm, linear
from clip_tf.plan import AttentionPlan, given_plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig


def quick_gelu(states: tf.Tensor) -> tf.Tensor:
    """Return the approximation of GELU used to train OpenAI's CLIP: x * sigmoid(1.702 x)."""
    return states * tf.sigmoid(1.702 * states)


# Written out because tf.nn.gelu rounds its constants to float32 in any dtype.
def gelu(states: tf.Tensor) -> tf.Tensor:
    """Return x times the cumulative normal distribution at x, exactly (Hendrycks and Gimpel 2016)."""
    return 0.5 * states * (1.0 + tf.math.erf(states / math.sqrt(2.0)))


def gelu_tanh(states: tf.Tensor) -> tf.Tensor:
    """Return the approximation of GELU by a hyperbolic tangent."""
    return 0.5 * states * (1.0 + tf.tanh(math.sqrt(2.0 / math.pi) * (states + 0.044715 * states**3)))


ACTIVATION_FUNCTIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "gelu": gelu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "quick_gelu": quick_gelu,
    "relu": tf.nn.relu,
    "selu": tf.nn.selu,
    "silu": tf.nn.silu,
    "swish": tf.nn.silu,
}


class CLIPMLP(CLIPLayer):
    """Two linear layers with the configured activation between them."""

    def __init__(self, config: CLIPTextConfig | CLIPVisionConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        width, factor, dtype = config.hidden_size, config.initializer_factor, self.dtype_policy
        self.config = config
        self.activation_fn = ACTIVATION_FUNCTIONS[config.hidden_act]
        self.fc1 = linear(width, config.intermediate_size, std=(2 * width) ** -0.5 * factor, name="fc1", dtype=dtype)
        out_std = width**-0.5 * (2 * config.num_hidden_layers) ** -0.5 * factor
        self.fc2 = linear(config.intermediate_size, width, std=out_std, name="fc2", dtype=dtype)

    def call(self, hidden_states: tf.Tensor) -> tf.Tensor:
        """Map `(batch, seq, hidden)` to the same shape."""
        return self.fc2(self.activation_fn(self.fc1(hidden_states)))


class CLIPEncoderLayer(CLIPLayer):
    """One pre-norm transformer layer."""

    def __init__(self, config: CLIPTextConfig | CLIPVisionConfig, layer_index: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.embed_dim = width = config.hidden_size
        epsilon, dtype = config.layer_norm_eps, self.dtype_policy
        self.self_attn = CLIPAttention(config, layer_index, name="self_attn", dtype=dtype)
        self.layer_norm1 = layer_norm(width, epsilon=epsilon, name="layer_norm1", dtype=dtype)
        self.mlp = CLIPMLP(config, name="mlp", dtype=dtype)
        self.layer_norm2 = layer_norm(width, epsilon=epsilon, name="layer_norm2", dtype=dtype)

    def call(
        self,
        hidden_states: tf.Tensor,
        attention_mask: tf.Tensor | None = None,
        causal_attention_mask: tf.Tensor | None = None,
        output_attentions: bool = False,
        plan: AttentionPlan | None = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, ...]:
        """Map `(batch, seq, hidden)` to the same shape. Takes the arguments of `CLIPAttention`.

        Returns:
            The states, and with `output_attentions` the attention weights.
        """
        states, masks = self.layer_norm1(hidden_states), (attention_mask, causal_attention_mask)
        attended, attention_weights = self.self_attn(
            states, *masks, output_attentions=output_attentions, plan=plan, dropout_seed=dropout_seed
        )
        hidden_states = hidden_states + attended
        hidden_states = hidden_states + self.mlp(self.layer_norm2(hidden_states))
        return (hidden_states,) if attention_weights is None else (hidden_states, attention_weights)


class CLIPEncoder(CLIPLayer):
    """A stack of encoder layers.

    Attributes:
        gradient_checkpointing: recompute each layer in the backward pass of training instead of keeping its
            intermediate results; set by `gradient_checkpointing_enable`.
    """

    def __init__(self, config: CLIPTextConfig | CLIPVisionConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.layers = [
            CLIPEncoderLayer(config, index, name=f"layers_{index}", dtype=self.dtype_policy)
            for index in range(config.num_hidden_layers)
        ]
        self.gradient_checkpointing = config.gradient_checkpointing
        self.seeds = keras.random.SeedGenerator() if config.attention_dropout > 0 else None

    def call(
        self,
        inputs_embeds: tf.Tensor,
        attention_mask: tf.Tensor | None = None,
        causal_attention_mask: tf.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        plan: AttentionPlan | None = None,
        training: bool = False,
    ) -> BaseModelOutput[tf.Tensor]:
        """Run the layers over `(batch, seq, hidden)`; masks and plan as in CLIPAttention."""
        output_attentions, output_hidden_states = outputs_asked(self.config, output_attentions, output_hidden_states)
        if plan is None:
            masks = (attention_mask, causal_attention_mask)
            plan = given_plan(self.config, masks, inputs_embeds, output_attentions=output_attentions)
        hidden_states = inputs_embeds
        all_hidden_states = [hidden_states]
        all_attentions = []
        for layer in self.layers:
            seed = self._dropout_seed(training=training)
            run = partial(layer.__call__, output_attentions=output_attentions, plan=plan, dropout_seed=seed)
            if self.gradient_checkpointing and training:
                run = tf.recompute_grad(run)
            hidden_states, *attention_weights = run(hidden_states)
            if output_hidden_states:
                all_hidden_states.append(hidden_states)
            all_attentions += attention_weights
        return BaseModelOutput(
            last_hidden_state=hidden_states,
            hidden_states=tuple(all_hidden_states) if output_hidden_states else None,
            attentions=tuple(all_attentions) if output_attentions else None,
        )

    def _dropout_seed(self, *, training: bool) -> tf.Tensor | None:
        """Return a seed drawn outside the layer, so that rerunning the layer drops the same attention weights."""
        if self.seeds is None or not training:
            return None
        return tf.cast(tf.convert_to_tensor(self.seeds.next()), tf.int64)
