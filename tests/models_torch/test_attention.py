"""The three attention implementations give the same numbers, forward and backward, under every mask."""

from __future__ import annotations

import warnings

import pytest
import torch

import clip_torch
from clip_core.modeling import attention as attention_names
from clip_torch.attention import AttentionPlan, check_implementation, eager_attention, text_plan
from support import flash_kernels
from support.configs import tiny_config, token_ids
from support.messages import naming
from support.tolerances import FLOAT32, FLOAT64

BATCH, SEQ, HEADS, HEAD_DIM = 5, 9, 3, 8


MASKS = {
    "none": None,
    "right padding": [[1] * n + [0] * (SEQ - n) for n in (9, 4, 1, 7, 2)],
    "left padding": [[0] * (SEQ - n) + [1] * n for n in (9, 4, 1, 7, 2)],
    "a row of padding alone": [[1] * n + [0] * (SEQ - n) for n in (3, 0, 9, 5, 0)],
    "holes": [[1, 0, 1, 1, 0, 0, 1, 1, 0]] * BATCH,
}


def run(implementation, mask, heads=5):
    """Output and gradients of a text model at the attended tokens; the sum of their squares is the loss."""
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


@pytest.mark.parametrize("case", MASKS)
def test_sdpa_agrees_with_eager_forward_and_backward(case):
    assert_same(run("sdpa", MASKS[case]), run("eager", MASKS[case]))


@pytest.mark.parametrize("heads", [5, 4])  # of 8 elements, which the kernels take, and of 10, which some do not
@pytest.mark.parametrize("kernels", flash_kernels.KERNELS)
@pytest.mark.parametrize("case", MASKS)
def test_flash_attention_agrees_with_eager_forward_and_backward(case, kernels, heads, monkeypatch):
    """The kernels need a GPU; all that surrounds them is ours and runs here, unpadding and all."""
    flash_kernels.install(kernels, monkeypatch)
    assert_same(run("flash_attention_2", MASKS[case], heads), run("eager", MASKS[case], heads))


def test_a_full_batch_is_not_unpadded(monkeypatch):
    """On a GPU it takes a look at the mask to know; here the look that a CPU gives it for nothing is taken away."""
    monkeypatch.setattr("clip_torch.attention.known_values", lambda tensor: None)
    full, padded = torch.ones(2, 6), torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    states = torch.zeros(2, 6, 8)
    assert text_plan("flash_attention_2", full, states).unpadding is None
    assert text_plan("flash_attention_2", padded, states).unpadding.max_length == 6
    assert text_plan("flash_attention_2", padded[1:].repeat(2, 1), states).unpadding.max_length == 4


def test_a_padded_text_equals_the_same_text_alone():
    model = clip_torch.CLIPTextModel(tiny_config().text_config).double().eval()
    ids, mask = (torch.from_numpy(array) for array in token_ids())
    together = model(ids, attention_mask=mask)
    for row, length in enumerate(mask.sum(-1).tolist()):
        alone = model(ids[row : row + 1, :length])
        torch.testing.assert_close(together.last_hidden_state[row, :length], alone.last_hidden_state[0])
        torch.testing.assert_close(together.pooler_output[row], alone.pooler_output[0])


def test_what_follows_a_token_does_not_change_it():
    model = clip_torch.CLIPTextModel(tiny_config().text_config).double().eval()
    ids = torch.randint(1, 90, (2, 12))
    other = ids.clone()
    other[:, 7:] = 5
    states, changed = model(ids).last_hidden_state, model(other).last_hidden_state
    torch.testing.assert_close(states[:, :7], changed[:, :7])
    assert not torch.allclose(states[:, 7:], changed[:, 7:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_no_mask_makes_nan_in_any_dtype(dtype):
    query, key, value = torch.randn(3, BATCH, SEQ, HEADS, HEAD_DIM).to(dtype)
    for rows in MASKS.values():
        mask = None if rows is None else torch.tensor(rows)
        prepared = text_plan("eager", mask, torch.zeros(BATCH, SEQ, 1, dtype=dtype))
        attended, weights = eager_attention(query, key, value, prepared, scale=0.3, dropout=0.0)
        assert torch.isfinite(attended).all()
        assert torch.isfinite(weights).all()


@pytest.mark.parametrize("class_name", ["CLIPTextModel", "CLIPVisionModel"])
def test_asking_sdpa_for_attentions_falls_back_to_eager_with_one_warning(class_name, monkeypatch):
    monkeypatch.setattr(attention_names, "_warned", set())
    config = tiny_config()
    model = getattr(clip_torch, class_name)(config).eval()
    inputs = torch.from_numpy(token_ids()[0]) if class_name == "CLIPTextModel" else torch.randn(2, 2, 30, 30)
    with pytest.warns(UserWarning, match=naming("sdpa", "output_attentions")) as caught:
        first = model(inputs, output_attentions=True)
        model(inputs, output_attentions=True)
    assert len(caught) == 1
    torch.testing.assert_close(first.last_hidden_state, model(inputs).last_hidden_state, **FLOAT32)
    assert all(weights.sum(-1).allclose(torch.ones(())) for weights in first.attentions)


def test_eager_returns_attentions_without_a_warning():
    model = clip_torch.CLIPTextModel(tiny_config().text_config)
    model.set_attn_implementation("eager")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        output = model(torch.from_numpy(token_ids()[0]), output_attentions=True)
    assert [tuple(weights.shape) for weights in output.attentions] == [(4, 5, 11, 11)] * 3


def test_an_unknown_implementation_is_refused_by_name():
    with pytest.raises(ValueError, match=naming("'flex'", "eager", "sdpa", "flash_attention_2")):
        check_implementation("flex")
    config = tiny_config(attn_implementation="flex")
    with pytest.raises(ValueError, match=naming("attn_implementation='flex'")):
        clip_torch.CLIPModel(config)
    config = tiny_config(attn_implementation={"vision_config": "flex"})
    with pytest.raises(ValueError, match=naming("attn_implementation='flex'")):
        clip_torch.CLIPModel(config)


def test_the_towers_may_differ_in_implementation():
    model = clip_torch.CLIPModel(tiny_config(attn_implementation={"text_config": "eager"}))
    towers = model.text_model.config, model.vision_model.config
    assert [tower.attn_implementation for tower in towers] == ["eager", None]
    model.set_attn_implementation({"text_config": "sdpa", "vision_config": "eager"})
    assert [tower.attn_implementation for tower in towers] == ["sdpa", "eager"]
    with pytest.raises(ValueError, match=naming("attn_implementation='flex'")):
        model.set_attn_implementation({"text_config": "eager", "vision_config": "flex"})
    assert [tower.attn_implementation for tower in towers] == ["sdpa", "eager"]
    model.set_attn_implementation("eager")
    assert [tower.attn_implementation for tower in towers] == ["eager", "eager"]


def test_a_mask_of_another_shape_is_refused_with_both_shapes():
    model = clip_torch.CLIPTextModel(tiny_config().text_config)
    with pytest.raises(ValueError, match=naming("attention_mask", (4, 12), "input_ids", (4, 11))):
        model(torch.from_numpy(token_ids()[0]), attention_mask=torch.ones(4, 12))


def test_dropout_acts_in_training_alone():
    config = tiny_config({"attention_dropout": 0.5}, {"attention_dropout": 0.5})
    for implementation in ("eager", "sdpa"):
        model = clip_torch.CLIPTextModel(config.text_config)
        model.set_attn_implementation(implementation)
        ids = torch.from_numpy(token_ids()[0])
        assert torch.equal(model.eval()(ids).pooler_output, model(ids).pooler_output)
        assert not torch.equal(model.train()(ids).pooler_output, model(ids).pooler_output)


def test_the_mask_is_made_once_for_all_layers():
    assert AttentionPlan().bias is None
    mask = torch.ones(BATCH, SEQ)
    mask[0, -1] = 0
    prepared = text_plan("sdpa", mask, torch.zeros(BATCH, SEQ, 4))
    assert prepared.bias.shape == (BATCH, 1, SEQ, SEQ)
    assert not prepared.is_causal  # the bias says it already
    assert prepared.empty_rows is None  # none is
    mask[0] = 0
    assert text_plan("sdpa", mask, torch.zeros(BATCH, SEQ, 4)).empty_rows.flatten().tolist() == [True] + [False] * (
        BATCH - 1
    )


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.bfloat16])
def test_a_mask_that_hides_nothing_costs_nothing(dtype):
    prepared = text_plan("sdpa", torch.ones(BATCH, SEQ, dtype=dtype), torch.zeros(BATCH, SEQ, 4))
    assert prepared.is_causal
    assert prepared.bias is None
