"""Multi-head self-attention, in three implementations that agree.

`eager` is written out and is the only one that can return the attention weights; `sdpa` calls
`torch.nn.functional.scaled_dot_product_attention`; `flash_attention_2` calls the kernels of FlashAttention 2, from the
flash-attn package or from PyTorch itself.

See `clip_core.modeling.attention` for the masks, and for queries that see no key. FlashAttention takes no bias: padding
tokens are removed before its kernel runs and come back as zeros, so their hidden states differ from those of `eager`
and `sdpa`. The hidden states of attended tokens agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clip_core.modeling.pruning import prune_projections
from clip_torch.flash_attention import FLASH_ATTENTION, flash_full, flash_varlen
from clip_torch.initialization import linear
from clip_torch.plan import AttentionPlan, given_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np

    from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig


# The three implementations. query, key, value and the output are (batch, seq, heads, head_dim).
AttentionOutput = tuple[Tensor, Tensor | None]


def eager_attention(
    query: Tensor, key: Tensor, value: Tensor, plan: AttentionPlan, *, scale: float, dropout: float
) -> AttentionOutput:
    """Compute attention as defined, and also return the attention weights `(batch, heads, seq, seq)`."""
    query, key, value = (states.transpose(1, 2) for states in (query, key, value))  # (batch, heads, seq, head_dim)
    scores = torch.matmul(query, key.transpose(-1, -2)) * scale  # (batch, heads, seq, seq)
    if plan.bias is not None:
        scores = scores + plan.bias
    # Softmax in fp32 at least, as in transformers; fp64 is kept, as its lowest number is -inf in fp32.
    attention_weights = scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(query.dtype)
    if plan.probe is not None:
        attention_weights = attention_weights + plan.probe
    attention_weights = F.dropout(attention_weights, p=dropout)
    return torch.matmul(attention_weights, value).transpose(1, 2), attention_weights


def sdpa_attention(
    query: Tensor, key: Tensor, value: Tensor, plan: AttentionPlan, *, scale: float, dropout: float
) -> AttentionOutput:
    """Attend with PyTorch's fused kernels."""
    query, key, value = (states.transpose(1, 2) for states in (query, key, value))  # (batch, heads, seq, head_dim)
    attended = F.scaled_dot_product_attention(
        query, key, value, attn_mask=plan.bias, is_causal=plan.is_causal, dropout_p=dropout, scale=scale
    )
    return attended.transpose(1, 2), None


def flash_attention(
    query: Tensor, key: Tensor, value: Tensor, plan: AttentionPlan, *, scale: float, dropout: float
) -> AttentionOutput:
    """Attend with FlashAttention 2, after removing any padding."""
    options: dict[str, Any] = {"is_causal": plan.is_causal, "scale": scale, "dropout": dropout}
    if plan.unpadding is None:
        return flash_full(query, key, value, **options), None
    packing, cumulative_lengths, max_length = plan.unpadding
    query, key, value = (packing.packed(states)[0] for states in (query, key, value))  # (tokens, heads, head_dim)
    attended = flash_varlen(query, key, value, cumulative_lengths, max_length, **options)
    return packing.padded(attended[None]), None


_ATTENTION: dict[str, Callable[..., AttentionOutput]] = {
    "eager": eager_attention,
    "sdpa": sdpa_attention,
    FLASH_ATTENTION: flash_attention,
}


def attend(
    query: Tensor, key: Tensor, value: Tensor, plan: AttentionPlan, *, scale: float, dropout: float
) -> AttentionOutput:
    """Attend with the implementation in the plan."""
    if plan.packing is not None:
        query, key, value = (plan.packing.spread(states) for states in (query, key, value))  # no token sees padding
        unpacked = plan._replace(packing=None)
        attended, attention_weights = attend(query, key, value, unpacked, scale=scale, dropout=dropout)
        return plan.packing.packed(attended), attention_weights
    if plan.keyless is not None:
        query = query.masked_fill(plan.keyless, 0.0)
    return _ATTENTION[plan.implementation](query, key, value, plan, scale=scale, dropout=dropout)


class CLIPAttention(nn.Module):
    """Multi-head self-attention with biased projections (Vaswani et al. 2017).

    Args:
        config: the tower's configuration.
        layer_index: index of this layer, the key of its heads in `config.pruned_heads`.
    """

    def __init__(self, config: CLIPTextConfig | CLIPVisionConfig, layer_index: int) -> None:
        super().__init__()
        self.config = config
        self.embed_dim = width = config.hidden_size
        self.head_dim = width // config.num_attention_heads
        self.num_heads = config.num_attention_heads - len(config.pruned_heads.get(layer_index, ()))
        self.scale = self.head_dim**-0.5
        self.dropout = config.attention_dropout
        self.is_causal = False  # as in transformers; the masks decide

        in_std = width**-0.5 * (2 * config.num_hidden_layers) ** -0.5 * config.initializer_factor
        out_std = width**-0.5 * config.initializer_factor
        inner = self.num_heads * self.head_dim
        self.k_proj = linear(width, inner, std=in_std)
        self.v_proj = linear(width, inner, std=in_std)
        self.q_proj = linear(width, inner, std=in_std)
        self.out_proj = linear(inner, width, std=out_std)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        causal_attention_mask: Tensor | None = None,
        output_attentions: bool = False,
        plan: AttentionPlan | None = None,
    ) -> AttentionOutput:
        """Attend within each sequence.

        Args:
            hidden_states: `(batch, seq, hidden)`.
            attention_mask: a mask as in `given_plan`; None if nothing is padded.
            causal_attention_mask: a mask as in `given_plan`; None if every token attends to all tokens.
            output_attentions: return the attention weights.
            plan: the implementation, and the keys that each query sees; replaces the masks.

        Returns:
            The output `(batch, seq, hidden)`, and the attention weights `(batch, heads, seq, seq)` or None.
        """
        if plan is None:
            masks = (attention_mask, causal_attention_mask)
            plan = given_plan(self.config, masks, hidden_states, output_attentions=output_attentions)
        heads = (self.num_heads, self.head_dim)
        query = self.q_proj(hidden_states).unflatten(-1, heads)  # (batch, seq, heads, head_dim)
        key = self.k_proj(hidden_states).unflatten(-1, heads)
        value = self.v_proj(hidden_states).unflatten(-1, heads)
        dropout = self.dropout if self.training else 0.0
        attended, attention_weights = attend(query, key, value, plan, scale=self.scale, dropout=dropout)
        return self.out_proj(attended.flatten(-2)), attention_weights if output_attentions else None

    def prune_heads(self, heads: Iterable[int]) -> None:
        """Remove heads, given by their index among the remaining ones."""
        prune_projections(self, heads, _keep)


def _keep(attention: CLIPAttention, name: str, features: np.ndarray, *, of_outputs: bool) -> None:
    """Reduce a linear layer to some of its outputs or inputs."""
    layer: nn.Linear = getattr(attention, name)
    index = torch.from_numpy(features).to(layer.weight.device)
    weight = layer.weight.detach().index_select(0 if of_outputs else 1, index)
    layer.weight = nn.Parameter(weight, layer.weight.requires_grad)
    if of_outputs:
        layer.bias = nn.Parameter(layer.bias.detach().index_select(0, index), layer.bias.requires_grad)
    layer.out_features, layer.in_features = layer.weight.shape
