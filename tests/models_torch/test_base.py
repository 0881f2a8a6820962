"""The handles: embeddings, pruning, gradient checkpointing, dtype and device, and adapters from PEFT."""

from __future__ import annotations

import pytest
import torch

import clip_torch
from support.configs import pixel_values, tiny_config, token_ids
from support.messages import naming
from support.tolerances import DRAWN_WEIGHTS


def build(class_name="CLIPTextModel", **config):
    torch.manual_seed(0)
    return getattr(clip_torch, class_name)(tiny_config(**config))


@pytest.fixture
def ids():
    return torch.from_numpy(token_ids()[0])


def test_growing_the_vocabulary_keeps_the_old_rows_and_starts_new_ones_at_their_mean(ids):
    model = build().eval()
    old = model.get_input_embeddings().weight.detach().clone()
    before = model(ids).pooler_output
    grown = model.resize_token_embeddings(110)
    assert grown is model.get_input_embeddings()
    assert grown.weight.shape == (110, 40)
    assert grown.num_embeddings == model.config.vocab_size == 110
    assert torch.equal(grown.weight[:99], old)
    torch.testing.assert_close(grown.weight[99:], old.mean(0).expand(11, -1))
    assert torch.equal(model(ids).pooler_output, before)
    model(torch.tensor([[109, 97]]))


def test_cutting_and_rounding_the_vocabulary():
    model = build("CLIPModel")
    assert model.resize_token_embeddings(50).weight.shape == (50, 40)
    assert model.resize_token_embeddings(51, pad_to_multiple_of=32).weight.shape == (64, 40)
    assert model.resize_token_embeddings(pad_to_multiple_of=3).weight.shape == (66, 40)
    assert model.config.text_config.vocab_size == 66
    drawn = model.resize_token_embeddings(2000, mean_resizing=False).weight[66:]
    assert drawn.std().item() == pytest.approx(0.02 * 1.5, rel=DRAWN_WEIGHTS)


@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPTextModel"])
def test_adding_tokens_to_a_model_that_pools_at_the_largest_id_warns(class_name):
    model = build(class_name, text={"eos_token_id": 2}).eval()
    model.resize_token_embeddings(99)
    with pytest.warns(UserWarning, match=naming("eos_token_id=2", "tokenizer.eos_token_id")):
        model.resize_token_embeddings(101)
    config = getattr(model.config, "text_config", model.config)
    config.eos_token_id = 97
    model.resize_token_embeddings(102)
    ids = torch.tensor([[96, 101, 5, 97, 0]])
    assert model.text_model.eos_positions(ids).tolist() == [3]


def test_a_vision_model_has_no_vocabulary():
    with pytest.raises(TypeError, match=naming("CLIPVisionModel", "resize_token_embeddings")):
        build("CLIPVisionModel").resize_token_embeddings(5)


@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPTextModelWithProjection", "CLIPVisionModelWithProjection"])
def test_the_input_embedding_can_be_read_and_replaced(class_name):
    model = build(class_name)
    old = model.get_input_embeddings()
    new = torch.nn.Identity()
    model.set_input_embeddings(new)
    assert model.get_input_embeddings() is new is not old


def test_a_pruned_head_counts_as_one_that_adds_nothing(ids, tmp_path):
    model = build("CLIPModel").eval()
    silenced = build("CLIPModel").eval()
    silenced.load_state_dict(model.state_dict())
    pruned = {"text_model": {0: [4, 1], 2: [0]}, "vision_model": {1: [2]}}
    for tower, layers in pruned.items():
        width = 8 if tower == "text_model" else 12
        for layer, heads in layers.items():
            weight = getattr(silenced, tower).encoder.layers[layer].self_attn.out_proj.weight
            for head in heads:
                weight.data[:, head * width : (head + 1) * width] = 0
    model.prune_heads(pruned)
    pixels = torch.from_numpy(pixel_values())
    expected = silenced(ids, pixels)
    torch.testing.assert_close(model(ids, pixels).logits_per_image, expected.logits_per_image)
    assert model.config.text_config.pruned_heads == {0: [1, 4], 2: [0]}
    assert model.text_model.encoder.layers[0].self_attn.q_proj.weight.shape == (24, 40)

    model.save_pretrained(tmp_path)
    loaded = clip_torch.CLIPModel.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded(ids, pixels).logits_per_image, expected.logits_per_image)


def test_heads_of_one_tower_are_pruned_by_layer_and_in_steps(ids):
    at_once, in_steps = build().eval(), build().eval()
    at_once.prune_heads({1: [0, 2, 3]})
    in_steps.prune_heads({1: [2]})
    in_steps.prune_heads({1: [3, 2, 0]})
    assert in_steps.config.pruned_heads == at_once.config.pruned_heads == {1: [0, 2, 3]}
    torch.testing.assert_close(in_steps(ids).pooler_output, at_once(ids).pooler_output)


def test_a_tower_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=naming("prune_heads", "'0'", "text_model", "vision_model")):
        build("CLIPModel").prune_heads({0: [1]})


@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPVisionModel", "CLIPTextModel"])
def test_gradient_checkpointing_gives_the_same_gradients(class_name, ids):
    def gradients(*, checkpointing):
        model = build(class_name).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        assert model.is_gradient_checkpointing is checkpointing
        pixels = torch.from_numpy(pixel_values(4))
        inputs = {"CLIPModel": (ids, pixels), "CLIPVisionModel": (pixels,), "CLIPTextModel": (ids,)}[class_name]
        model(*inputs)[0].square().sum().backward()
        return {name: parameter.grad for name, parameter in model.named_parameters()}

    plain, recomputed = gradients(checkpointing=False), gradients(checkpointing=True)
    assert plain.keys() == recomputed.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, msg=name)


def test_gradient_checkpointing_calls_each_layer_twice_in_training_alone(ids):
    model = build()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    calls = []
    model.text_model.encoder.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    model.train()(ids).pooler_output.sum().backward()
    assert len(calls) == 2
    model.eval()(ids).pooler_output.sum().backward()
    assert len(calls) == 3
    model.gradient_checkpointing_disable()
    model.train()(ids).pooler_output.sum().backward()
    assert len(calls) == 4


def test_dtype_device_and_counts():
    model = build("CLIPModel")
    total = sum(parameter.numel() for parameter in model.parameters())
    tables = 99 * 40 + 19 * 40 + 26 * 36 + 36 * 2 * 6 * 6
    assert (model.dtype, model.device) == (torch.float32, torch.device("cpu"))
    assert model.num_parameters() == total
    assert model.num_parameters(exclude_embeddings=True) == total - tables
    model.text_model.requires_grad_(False)
    assert model.num_parameters(only_trainable=True) < total
    assert model.half().dtype == torch.float16
    assert model.to(torch.bfloat16).logit_scale.dtype == torch.bfloat16


def test_input_gradients_can_be_asked_for_and_dropped(ids):
    model = build().requires_grad_(False)
    model.enable_input_require_grads()
    assert model(ids).pooler_output.requires_grad
    model.disable_input_require_grads()
    assert not model(ids).pooler_output.requires_grad


def test_peft_finds_our_modules_by_the_references_names(ids):
    peft = pytest.importorskip("peft", reason="PEFT is not installed")
    model = build("CLIPTextModel")
    before = model(ids).pooler_output.detach()
    lora = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    adapters = [name for name, parameter in lora.named_parameters() if parameter.requires_grad]
    assert len(adapters) == 3 * 2 * 2
    torch.testing.assert_close(lora(ids).pooler_output, before)
    lora(ids).pooler_output.sum().backward()
    merged = lora.merge_and_unload()
    assert isinstance(merged, clip_torch.CLIPTextModel)
    torch.testing.assert_close(merged(ids).pooler_output, before)
