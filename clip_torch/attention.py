"""Multi-head self-attention, in three implementations that agree.

`eager` is written out and is the only one that can return the attention weights; `sdpa` calls
`torch.nn.functional.scaled_dot_product_attention`; `flash_attention_2` calls the kernels of FlashAttention 2, from the
flash-attn package or from PyTorch itself.

Masks, and queries that see no key: see `clip_core.modeling.attention`. FlashAttention takes no bias: padding
tokens are removed before its kernel, and come back as zeros. Their hidden states then differ from those of `eager` and
`sdpa`; those of attended tokens agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clip_core.modeling.attention import DEFAULT_IMPLEMENTATION, FLASH_ATTENTION, known_implementation, warn_of_eager
from clip_torch.flash_attention import flash_full, flash_varlen, kernels
from clip_torch.initialization import linear
from clip_torch.tensors import known_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig

ATTENTION_IMPLEMENTATIONS = ("eager", "sdpa", FLASH_ATTENTION)


class Packing(NamedTuple):
    """A batch of texts as one row of their tokens, without padding."""

    indices: Tensor  # (tokens,) int64, into the flattened (batch * seq)
    shape: tuple[int, int]  # (batch, seq)

    @classmethod
    def of(cls, attended: Tensor) -> Packing:
        """Return the packing of the tokens marked in `(batch, seq)`, bool."""
        batch, seq = attended.shape
        return cls(attended.flatten().nonzero().flatten(), (batch, seq))

    def padded(self, states: Tensor) -> Tensor:
        """Turn `(1, tokens, ...)` into `(batch, seq, ...)`, with zeros for padding."""
        batch, seq = self.shape
        padded = states.new_zeros(batch * seq, *states.shape[2:]).index_copy(0, self.indices, states[0])
        return padded.unflatten(0, self.shape)

    def packed(self, states: Tensor) -> Tensor:
        """Turn `(batch, seq, ...)` into `(1, tokens, ...)`."""
        return states.flatten(0, 1).index_select(0, self.indices)[None]


class Unpadding(NamedTuple):
    """The attended tokens of a padded batch, in the form that variable-length kernels take."""

    packing: Packing
    cumulative_lengths: Tensor  # (batch + 1,) int32
    max_length: int


class AttentionPlan(NamedTuple):
    """The attention of a tower's layers: the implementation, and the keys each query sees; shared by all layers."""

    implementation: str = DEFAULT_IMPLEMENTATION
    is_causal: bool = False  # causal without a bias
    bias: Tensor | None = None  # (batch or 1, 1, seq, seq), added to the scores
    unpadding: Unpadding | None = None
    keyless: Tensor | None = None  # (batch, seq, 1, 1) bool, the queries that see no key
    packing: Packing | None = None  # set if the states are packed; the fields above describe the padded batch

    def of_rows(self, start: int, stop: int) -> AttentionPlan:
        """Return the plan of part of a batch that is not unpadded."""
        bias = self.bias if self.bias is None or len(self.bias) == 1 else self.bias[start:stop]
        keyless = None if self.keyless is None else self.keyless[start:stop]
        return self._replace(bias=bias, keyless=keyless)


def check_implementation(name: str | None) -> str:
    """Return the attention implementation by name; see `known_implementation`."""
    known = known_implementation(name, ATTENTION_IMPLEMENTATIONS)
    if known == FLASH_ATTENTION:
        kernels()  # at construction, as torch.compile cannot trace an import
    return known


def choose_implementation(config: CLIPTextConfig | CLIPVisionConfig, *, output_attentions: bool) -> str:
    """Return the configured implementation, or `eager`, with one warning, if the weights are requested."""
    name = check_implementation(config.attn_implementation)
    if not output_attentions:
        return name
    if not torch.compiler.is_compiling():
        warn_of_eager(name)
    return "eager"


def vision_plan(implementation: str) -> AttentionPlan:
    """Plan attention in which every patch sees every patch."""
    return AttentionPlan(implementation)


def text_plan(implementation: str, attention_mask: Tensor | None, hidden_states: Tensor) -> AttentionPlan:
    """Plan causal attention that leaves out the padding in `attention_mask`.

    Args:
        implementation: the attention implementation that will follow the plan.
        attention_mask: `(batch, seq)`, non-zero for tokens to attend to; None if nothing is padded.
        hidden_states: `(batch, seq, hidden)`, for shape, dtype and device.
    """
    batch, seq, _ = hidden_states.shape
    if attention_mask is not None and attention_mask.shape != (batch, seq):
        raise ValueError(
            f"attention_mask has shape {tuple(attention_mask.shape)}; it needs that of input_ids, {(batch, seq)}"
        )
    known = None if attention_mask is None else known_values(attention_mask != 0)
    if attention_mask is None or (known is not None and known.all()):
        if implementation == "eager":
            return AttentionPlan(implementation, bias=_causal_bias(seq, hidden_states))
        return AttentionPlan(implementation, is_causal=True)
    attended = attention_mask.to(hidden_states.device) != 0  # (batch, seq)
    keyless = None
    if known is None or not known[:, :1].all():
        keyless = attended.cumsum(dim=-1)[:, :, None, None] == 0  # (batch, seq, 1, 1)
    if implementation == "flash_attention_2":
        unpadding = _unpadding(attended | ~attended.any(dim=-1, keepdim=True))
        return AttentionPlan(implementation, is_causal=True, unpadding=unpadding, keyless=keyless)
    bias = _causal_bias(seq, hidden_states) + _lowest_where(~attended, hidden_states.dtype)[:, None, None, :]
    if keyless is not None:
        bias = bias - _lowest_where(keyless.transpose(1, 2), hidden_states.dtype)
    return AttentionPlan(implementation, bias=bias, keyless=keyless)  # the bias is (batch, 1, seq, seq)


def _causal_bias(seq: int, like: Tensor) -> Tensor:
    seen = torch.ones((seq, seq), dtype=torch.bool, device=like.device).tril()
    return _lowest_where(~seen, like.dtype)[None, None]  # (1, 1, seq, seq)


def _lowest_where(masked: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros_like(masked, dtype=dtype).masked_fill(masked, torch.finfo(dtype).min)


def _unpadding(attended: Tensor) -> Unpadding | None:
    """Return the unpadding of a batch `(batch, seq)`, bool; None if nothing is padded, which a GPU reports only now."""
    if attended.shape[0] == 0:
        return None
    lengths = attended.sum(dim=-1, dtype=torch.int32)  # (batch,)
    shortest, longest = torch.stack(lengths.aminmax()).tolist()
    if shortest == attended.shape[-1]:
        return None
    cumulative_lengths = F.pad(lengths.cumsum(dim=0, dtype=torch.int32), (1, 0))
    return Unpadding(Packing.of(attended), cumulative_lengths, longest)


# The three implementations. query, key, value and the output are (batch, seq, heads, head_dim).
AttentionOutput = tuple[Tensor, Tensor | None]


def eager_attention(
    query: Tensor, key: Tensor, value: Tensor, plan: AttentionPlan, *, scale: float, dropout: float
) -> AttentionOutput:
    """Attend by the formula; also return the weights `(batch, heads, seq, seq)`."""
    query, key, value = (states.transpose(1, 2) for states in (query, key, value))  # (batch, heads, seq, head_dim)
    scores = torch.matmul(query, key.transpose(-1, -2)) * scale  # (batch, heads, seq, seq)
    if plan.bias is not None:
        scores = scores + plan.bias
    # Softmax in fp32 at least, as in the reference; fp64 is kept, as its lowest number is -inf in fp32.
    weights = scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(query.dtype)
    weights = F.dropout(weights, p=dropout)
    return torch.matmul(weights, value).transpose(1, 2), weights


def sdpa_attention(
    query: Tensor, key: Tensor, value: Tensor, plan: AttentionPlan, *, scale: float, dropout: float
) -> AttentionOutput:
    """Attend by PyTorch's fused kernels."""
    query, key, value = (states.transpose(1, 2) for states in (query, key, value))  # (batch, heads, seq, head_dim)
    attended = F.scaled_dot_product_attention(
        query, key, value, attn_mask=plan.bias, is_causal=plan.is_causal, dropout_p=dropout, scale=scale
    )
    return attended.transpose(1, 2), None


def flash_attention(
    query: Tensor, key: Tensor, value: Tensor, plan: AttentionPlan, *, scale: float, dropout: float
) -> AttentionOutput:
    """Attend by FlashAttention 2; a padded batch is unpadded first."""
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
    "flash_attention_2": flash_attention,
}


def attend(
    query: Tensor, key: Tensor, value: Tensor, plan: AttentionPlan, *, scale: float, dropout: float
) -> AttentionOutput:
    """Attend by the implementation in the plan."""
    if plan.packing is not None:
        query, key, value = (plan.packing.padded(states) for states in (query, key, value))
        attended, weights = attend(query, key, value, plan._replace(packing=None), scale=scale, dropout=dropout)
        return plan.packing.packed(attended), weights
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
        width = config.hidden_size
        self.head_dim = width // config.num_attention_heads
        self.num_heads = config.num_attention_heads - len(config.pruned_heads.get(layer_index, ()))
        self.scale = self.head_dim**-0.5
        self.dropout = config.attention_dropout

        in_std = width**-0.5 * (2 * config.num_hidden_layers) ** -0.5 * config.initializer_factor
        out_std = width**-0.5 * config.initializer_factor
        inner = self.num_heads * self.head_dim
        self.k_proj = linear(width, inner, std=in_std)
        self.v_proj = linear(width, inner, std=in_std)
        self.q_proj = linear(width, inner, std=in_std)
        self.out_proj = linear(inner, width, std=out_std)

    def forward(self, hidden_states: Tensor, plan: AttentionPlan) -> AttentionOutput:
        """Attend within each sequence.

        Args:
            hidden_states: `(batch, seq, hidden)`.
            plan: the implementation, and the keys each query sees.

        Returns:
            The output `(batch, seq, hidden)`, and with `eager` the weights `(batch, heads, seq, seq)`.
        """
        heads = (self.num_heads, self.head_dim)
        query = self.q_proj(hidden_states).unflatten(-1, heads)  # (batch, seq, heads, head_dim)
        key = self.k_proj(hidden_states).unflatten(-1, heads)
        value = self.v_proj(hidden_states).unflatten(-1, heads)
        dropout = self.dropout if self.training else 0.0
        attended, weights = attend(query, key, value, plan, scale=self.scale, dropout=dropout)
        return self.out_proj(attended.flatten(-2)), weights

    def prune_heads(self, heads: Iterable[int]) -> None:
        """Remove heads, given by their index among the remaining ones."""
        removed = set(heads)
        kept = [head for head in range(self.num_heads) if head not in removed]
        index = torch.arange(self.num_heads * self.head_dim, device=self.q_proj.weight.device)
        index = index.unflatten(0, (self.num_heads, self.head_dim))[kept].flatten()
        for name in ("k_proj", "v_proj", "q_proj"):
            _keep(self, name, index, axis=0)
        _keep(self, "out_proj", index, axis=1)
        self.num_heads = len(kept)


def _keep(attention: CLIPAttention, name: str, index: Tensor, *, axis: int) -> None:
    """Reduce a linear layer to some of its outputs (axis 0) or inputs (axis 1)."""
    layer: nn.Linear = getattr(attention, name)
    layer.weight = nn.Parameter(layer.weight.detach().index_select(axis, index), layer.weight.requires_grad)
    if axis == 0:
        layer.bias = nn.Parameter(layer.bias.detach().index_select(0, index), layer.bias.requires_grad)
    layer.out_features, layer.in_features = layer.weight.shape
