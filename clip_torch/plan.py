"""The plan of a tower's attention, made once for all layers: the implementation, and the keys that each query sees.

See `clip_core.modeling.attention` for the masks, and for queries that see no key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from clip_core.modeling.attention import DEFAULT_IMPLEMENTATION, implementation_of_call, known_implementation
from clip_core.modeling.inputs import check_mask_shape
from clip_torch.arrays import framework
from clip_torch.flash_attention import FLASH_ATTENTION, kernels
from clip_torch.packing import Packing, Unpadding, unpadding_of
from clip_torch.tensors import known_values

if TYPE_CHECKING:
    import numpy as np

    from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig

ATTENTION_IMPLEMENTATIONS = framework.attention_implementations


class AttentionPlan(NamedTuple):
    """The attention of all layers of a tower: the implementation, and the keys that each query sees."""

    implementation: str = DEFAULT_IMPLEMENTATION
    is_causal: bool = False  # causal without a bias
    bias: Tensor | None = None  # (batch or 1, 1, seq, seq), added to the scores
    keyless: Tensor | None = None  # (batch or 1, seq or 1, 1, 1) bool, the queries that see no key
    unpadding: Unpadding | None = None
    packing: Packing | None = None  # set if the states are packed; the fields above describe the padded batch
    probe: Tensor | None = None  # (batch, heads, seq, seq), added to the attention weights, for gradients

    def of_rows(self, start: int, stop: int) -> AttentionPlan:
        """Return the plan for some rows of a batch that is not unpadded."""

        def part(whole: Tensor | None) -> Tensor | None:
            return whole if whole is None or len(whole) == 1 else whole[start:stop]

        return self._replace(bias=part(self.bias), keyless=part(self.keyless))


def check_implementation(name: str | None) -> str:
    """Return the attention implementation by name; see `known_implementation`."""
    known = known_implementation(name, ATTENTION_IMPLEMENTATIONS)
    if known == FLASH_ATTENTION:
        kernels()  # at construction, because torch.compile cannot trace an import
    return known


def choose_implementation(config: CLIPTextConfig | CLIPVisionConfig, *, output_attentions: bool) -> str:
    """Return the implementation of a call; see `implementation_of_call`."""
    name = check_implementation(config.attn_implementation)
    return implementation_of_call(name, output_attentions=output_attentions, warns=not torch.compiler.is_compiling())


def text_plan(implementation: str, attention_mask: Tensor | None, hidden_states: Tensor) -> AttentionPlan:
    """Plan causal attention that leaves out the padding in `attention_mask`.

    Args:
        implementation: the attention implementation that will follow the plan.
        attention_mask: `(batch, seq)`, non-zero for tokens to attend to; None if nothing is padded.
        hidden_states: `(batch, seq, hidden)`, for shape, dtype and device.
    """
    batch, seq, _ = hidden_states.shape
    if attention_mask is None:
        return _causal_plan(implementation, hidden_states)
    check_mask_shape(attention_mask.shape, (batch, seq))
    attended = attention_mask.bool()  # (batch, seq)
    known = known_values(attended)
    if known is not None and known.all():
        return _causal_plan(implementation, hidden_states)
    attended = attended.to(hidden_states.device)
    if implementation == FLASH_ATTENTION:
        return _unpadded_plan(attended, known)
    padding_bias = lowest_where(~attended, hidden_states.dtype)
    bias = causal_bias(seq, hidden_states) + padding_bias[:, None, None, :]  # (batch, 1, seq, seq)
    if known is not None and known[:, :1].all():  # every query attends to the first token
        return AttentionPlan(implementation, bias=bias)
    return _biased_plan(implementation, bias)


def _causal_plan(implementation: str, hidden_states: Tensor) -> AttentionPlan:
    if implementation == "eager":
        return AttentionPlan(implementation, bias=causal_bias(hidden_states.shape[1], hidden_states))
    return AttentionPlan(implementation, is_causal=True)


def _unpadded_plan(attended: Tensor, known: np.ndarray | None) -> AttentionPlan:
    """Plan FlashAttention: padding is removed, except from rows of nothing but padding."""
    empty = ~attended.any(dim=-1, keepdim=True)  # (batch, 1)
    keyless = None if known is not None and known.any(axis=-1).all() else empty[:, :, None, None]
    return AttentionPlan(FLASH_ATTENTION, is_causal=True, unpadding=unpadding_of(attended | empty), keyless=keyless)


def given_plan(
    config: CLIPTextConfig | CLIPVisionConfig,
    masks: tuple[Tensor | None, ...],
    hidden_states: Tensor,
    *,
    output_attentions: bool,
) -> AttentionPlan:
    """Plan the attention of a part of the model that is called on its own.

    Args:
        config: the tower's configuration.
        masks: biases `(batch or 1, 1, seq or 1, seq)`; or booleans of that shape, or any `(batch, seq)` array, that
            are non-zero for keys to attend to. None means no mask.
        hidden_states: `(batch, seq, hidden)`, for the dtype.
        output_attentions: True if the call returns the attention weights.
    """
    implementation = choose_implementation(config, output_attentions=output_attentions)
    biases = [_as_bias(mask, hidden_states.dtype) for mask in masks if mask is not None]
    if not biases:
        return AttentionPlan(implementation)
    if implementation == FLASH_ATTENTION:  # it takes no bias
        implementation = DEFAULT_IMPLEMENTATION
    return _biased_plan(implementation, sum(biases[1:], start=biases[0]))


def _biased_plan(implementation: str, bias: Tensor) -> AttentionPlan:
    keyless = (bias <= torch.finfo(bias.dtype).min).all(dim=-1, keepdim=True)  # (batch or 1, 1, seq, 1)
    bias = bias - lowest_where(keyless, bias.dtype)
    return AttentionPlan(implementation, bias=bias, keyless=keyless.transpose(1, 2))


def lowest_where(masked: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a bias: the lowest value of a dtype where a key is masked, and zero elsewhere."""
    return torch.zeros_like(masked, dtype=dtype).masked_fill(masked, torch.finfo(dtype).min)


def causal_bias(seq: int, like: Tensor) -> Tensor:
    """Return the bias `(1, 1, seq, seq)` that masks the keys after each query."""
    seen = torch.ones((seq, seq), dtype=torch.bool, device=like.device).tril()
    return lowest_where(~seen, like.dtype)[None, None]


def _as_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.ndim == 2:
        return lowest_where(mask == 0, dtype)[:, None, None, :]
    if not mask.is_floating_point():
        return lowest_where(mask == 0, dtype)
    return mask.clamp(min=torch.finfo(dtype).min).to(dtype)
