"""Methods specific to PyTorch: gradients of inputs, dtype and device, and adapters from PEFT."""

from __future__ import annotations

import pytest
import torch

import clip_torch
from support.configs import token_ids
from support.tolerances import EMBEDDINGS, ROUNDING
from support.torch_models import build


@pytest.fixture
def ids():
    return torch.from_numpy(token_ids()[0])


def test_dtype_device_and_the_count_of_what_is_trained():
    model = build("CLIPModel")
    total = sum(parameter.numel() for parameter in model.parameters())
    assert (model.dtype, model.device) == (torch.float32, torch.device("cpu"))
    model.text_model.requires_grad_(False)
    assert model.num_parameters(only_trainable=True) < total
    assert model.half().dtype == torch.float16
    assert model.to(torch.bfloat16).logit_scale.dtype == torch.bfloat16


def test_input_gradients_can_be_asked_for_and_dropped(ids):
    model = build("CLIPTextModel").requires_grad_(False)
    model.enable_input_require_grads()
    assert model(ids).pooler_output.requires_grad
    model.disable_input_require_grads()
    assert not model(ids).pooler_output.requires_grad


def assert_same(output, expected):
    torch.testing.assert_close(output.pooler_output, expected, rtol=ROUNDING, atol=EMBEDDINGS)


def test_adapters_of_peft_name_the_model_they_were_trained_on(ids, tmp_path):
    peft = pytest.importorskip("peft", reason="PEFT is not installed")
    build("CLIPTextModel").save_pretrained(tmp_path / "base")
    base = clip_torch.CLIPTextModel.from_pretrained(tmp_path / "base")
    lora = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    lora.save_pretrained(tmp_path / "adapter")
    found = peft.PeftConfig.from_pretrained(tmp_path / "adapter").base_model_name_or_path
    assert found == str(tmp_path / "base")
    loaded = peft.PeftModel.from_pretrained(clip_torch.CLIPTextModel.from_pretrained(found), tmp_path / "adapter")
    assert_same(loaded(ids), lora.eval()(ids).pooler_output)


def test_peft_finds_our_modules_by_the_references_names(ids):
    peft = pytest.importorskip("peft", reason="PEFT is not installed")
    model = build("CLIPTextModel")
    before = model(ids).pooler_output.detach()
    lora = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    adapters = [name for name, parameter in lora.named_parameters() if parameter.requires_grad]
    assert len(adapters) == 3 * 2 * 2
    assert_same(lora(ids), before)
    lora(ids).pooler_output.sum().backward()
    merged = lora.merge_and_unload()
    assert isinstance(merged, clip_torch.CLIPTextModel)
    assert_same(merged(ids), before)
