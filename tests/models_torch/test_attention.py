"""FlashAttention at the attended tokens, and plans that leave out what changes nothing."""

from __future__ import annotations

import pytest
import torch

import clip_torch
from clip_torch.plan import text_plan
from support import flash_kernels
from support.attention_masks import BATCH, MASKS, SEQ
from support.configs import tiny_config
from support.tolerances import FLOAT64


def run(implementation, mask, heads=5):
    """Output and gradients of a text model at the attended tokens; the sum of their squares is the loss.

    FlashAttention's kernels get no padding tokens, whose states are then its own.
    """
    torch.manual_seed(0)
    model = clip_torch.CLIPTextModel(tiny_config({"num_attention_heads": heads}).text_config).double()
    model.set_attn_implementation(implementation)
    ids = torch.randint(1, 90, (BATCH, SEQ), generator=torch.Generator().manual_seed(1))
    mask = None if mask is None else torch.tensor(mask)
    output = model(ids, attention_mask=mask)
    attended = torch.ones_like(ids) if mask is None else mask
    attended = attended | (attended.sum(-1, keepdim=True) == 0).long()  # rows that are all padding count too
    states = output.last_hidden_state * attended[..., None]
    states.square().sum().backward()
    return states.detach(), {name: parameter.grad for name, parameter in model.named_parameters()}


def assert_same(found, expected):
    (states, gradients), (other_states, other_gradients) = expected, found
    assert torch.isfinite(states).all()
    torch.testing.assert_close(other_states, states, **FLOAT64)
    for name, gradient in gradients.items():
        torch.testing.assert_close(other_gradients[name], gradient, **FLOAT64, msg=name)


@pytest.mark.parametrize("heads", [5, 4])  # of 8 elements, which the kernels take, and of 10, which some do not
@pytest.mark.parametrize("kernels", flash_kernels.KERNELS)
@pytest.mark.parametrize("case", MASKS)
def test_flash_attention_agrees_with_eager_forward_and_backward(case, kernels, heads, monkeypatch):
    """The kernels need a GPU; everything around them, such as unpadding, is ours and runs here."""
    flash_kernels.install(kernels, monkeypatch)
    assert_same(run("flash_attention_2", MASKS[case], heads), run("eager", MASKS[case], heads))


def test_a_full_batch_is_not_unpadded(monkeypatch):
    """On a GPU, knowing this requires reading the mask; here the free read on a CPU is disabled."""
    monkeypatch.setattr("clip_torch.plan.known_values", lambda tensor: None)
    full, padded = torch.ones(2, 6), torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    states = torch.zeros(2, 6, 8)
    assert text_plan("flash_attention_2", full, states).unpadding is None
    assert text_plan("flash_attention_2", padded, states).unpadding.max_length == 6
    assert text_plan("flash_attention_2", padded[1:].repeat(2, 1), states).unpadding.max_length == 4


def test_no_query_is_marked_where_every_query_sees_a_key():
    mask = torch.ones(BATCH, SEQ)
    mask[0, -1] = 0
    assert text_plan("sdpa", mask, torch.zeros(BATCH, SEQ, 4)).keyless is None


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.bfloat16])
def test_a_mask_that_hides_nothing_costs_nothing(dtype):
    prepared = text_plan("sdpa", torch.ones(BATCH, SEQ, dtype=dtype), torch.zeros(BATCH, SEQ, 4))
    assert prepared.is_causal
    assert prepared.bias is None
