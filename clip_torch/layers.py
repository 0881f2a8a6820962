"""The transformer encoder that both towers share: pre-norm layers of attention and an MLP."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.jit import is_tracing  # type: ignore[attr-defined]  # documented, but not exported by name
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from clip_core.modeling.outputs import BaseModelOutput, outputs_asked
from clip_torch.attention import CLIPAttention
from clip_torch.derived import call_attention, plan_or_masks
from clip_torch.initialization import linear
from clip_torch.plan import AttentionPlan, given_plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig


def quick_gelu(states: Tensor) -> Tensor:
    """Return the approximation of GELU used to train OpenAI's CLIP: x * sigmoid(1.702 x)."""
    scaled = 1.702 * states
    if torch.is_grad_enabled() or is_tracing():  # a trace runs with and without gradients
        return states * torch.sigmoid(scaled)
    # One tensor instead of three: they are the largest of all, and a CPU's allocator returns and fetches the pages of
    # each one.
    return scaled.sigmoid_().mul_(states)


ACTIVATION_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": partial(F.gelu, approximate="none"),
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "quick_gelu": quick_gelu,
    "relu": F.relu,
    "selu": F.selu,
    "silu": F.silu,
    "swish": F.silu,
}


class Activation(nn.Module):
    """An activation function as a module, to which hooks can be attached.

    Args:
        name: a name in `ACTIVATION_FUNCTIONS`.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, states: Tensor) -> Tensor:
        """Apply the function to each element."""
        return ACTIVATION_FUNCTIONS[self.name](states)

    def extra_repr(self) -> str:
        """Return the name."""
        return self.name


class CLIPMLP(nn.Module):
    """Two linear layers with the configured activation between them."""

    def __init__(self, config: CLIPTextConfig | CLIPVisionConfig) -> None:
        super().__init__()
        width, factor = config.hidden_size, config.initializer_factor
        self.config = config
        self.activation_fn = Activation(config.hidden_act)
        self.fc1 = linear(width, config.intermediate_size, std=(2 * width) ** -0.5 * factor)
        out_std = width**-0.5 * (2 * config.num_hidden_layers) ** -0.5 * factor
        self.fc2 = linear(config.intermediate_size, width, std=out_std)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Map `(batch, seq, hidden)` to the same shape."""
        return self.fc2(self.activation_fn(self.fc1(hidden_states)))


class CLIPEncoderLayer(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, config: CLIPTextConfig | CLIPVisionConfig, layer_index: int) -> None:
        super().__init__()
        self.embed_dim = config.hidden_size
        self.self_attn = CLIPAttention(config, layer_index)
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = CLIPMLP(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        causal_attention_mask: Tensor | None = None,
        output_attentions: bool = False,
        plan: AttentionPlan | None = None,
    ) -> tuple[Tensor, ...]:
        """Map `(batch, seq, hidden)` to the same shape. Takes the arguments of `CLIPAttention`.

        Returns:
            The states, and with `output_attentions` the attention weights.
        """
        arguments = (self.layer_norm1(hidden_states), (attention_mask, causal_attention_mask), plan)
        attended, attention_weights = call_attention(self.self_attn, *arguments, output_attentions=output_attentions)
        hidden_states = hidden_states + attended
        hidden_states = hidden_states + self.mlp(self.layer_norm2(hidden_states))
        return (hidden_states,) if attention_weights is None else (hidden_states, attention_weights)


class CLIPEncoder(nn.Module):
    """A stack of encoder layers.

    Attributes:
        gradient_checkpointing: recompute each layer in the backward pass of training instead of keeping its
            intermediate results; set by `gradient_checkpointing_enable`.
    """

    def __init__(self, config: CLIPTextConfig | CLIPVisionConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(CLIPEncoderLayer(config, index) for index in range(config.num_hidden_layers))
        self.gradient_checkpointing = config.gradient_checkpointing
        self._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)

    def forward(
        self,
        inputs_embeds: Tensor,
        attention_mask: Tensor | None = None,
        causal_attention_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        plan: AttentionPlan | None = None,
    ) -> BaseModelOutput[Tensor]:
        """Run the layers over `(batch, seq, hidden)`; masks and plan as in CLIPAttention."""
        output_attentions, output_hidden_states = outputs_asked(self.config, output_attentions, output_hidden_states)
        if plan is None:
            masks = (attention_mask, causal_attention_mask)
            plan = given_plan(self.config, masks, inputs_embeds, output_attentions=output_attentions)
        hidden_states = inputs_embeds
        all_hidden_states = [hidden_states]
        all_attentions = []
        for layer in self.layers:
            masks, options = plan_or_masks(layer, (None, None), plan, hidden_states)
            call = partial(layer, output_attentions=output_attentions, **options)
            if self.gradient_checkpointing and self.training:
                call = partial(self._gradient_checkpointing_func, call)
            hidden_states, *attention_weights = call(hidden_states, *masks)
            if output_hidden_states:
                all_hidden_states.append(hidden_states)
            all_attentions += attention_weights
        return BaseModelOutput(
            last_hidden_state=hidden_states,
            hidden_states=tuple(all_hidden_states) if output_hidden_states else None,
            attentions=tuple(all_attentions) if output_attentions else None,
        )
