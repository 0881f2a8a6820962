"""The requirements of FlashAttention 2, and the error for each missing one."""

from __future__ import annotations

import sys
import types

import pytest
import torch

import clip_torch
from clip_torch import flash_attention
from clip_torch.flash_attention import Kernels, check_flash_attention
from support import flash_kernels
from support.configs import pixel_values, tiny_config, token_ids
from support.messages import naming
from support.tolerances import FLOAT64


class OnTheGPU:
    """A tensor on a device that this machine does not have."""

    device = torch.device("cuda", 1)

    def __init__(self, head_dim=64, dtype=torch.float16):
        self.shape, self.dtype = torch.Size((2, 7, 3, head_dim)), dtype


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 6))
    monkeypatch.setattr(flash_attention, "_found", Kernels(None, None, print, takes_scale=True))


def test_a_model_on_the_cpu_is_refused():
    model = clip_torch.CLIPTextModel(tiny_config(attn_implementation="flash_attention_2").text_config)
    with pytest.raises(ValueError, match=naming("flash_attention_2", "CUDA", "cpu", "sdpa")):
        model(torch.from_numpy(token_ids()[0]))


@pytest.mark.usefixtures("gpu")
def test_half_precision_on_a_recent_gpu_is_accepted():
    check_flash_attention(OnTheGPU())
    check_flash_attention(OnTheGPU(256, torch.bfloat16))


@pytest.mark.usefixtures("gpu")
def test_single_precision_is_refused():
    with pytest.raises(ValueError, match=naming("flash_attention_2", "float16", "torch.float32")):
        check_flash_attention(OnTheGPU(dtype=torch.float32))


@pytest.mark.usefixtures("gpu")
def test_heads_beyond_the_kernels_are_refused():
    with pytest.raises(ValueError, match=naming("flash_attention_2", 256, 264, "sdpa")):
        check_flash_attention(OnTheGPU(264))


@pytest.mark.usefixtures("gpu")
def test_an_older_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.raises(ValueError, match=naming("flash_attention_2", "8.0", "cuda:1", "7.5", "sdpa")):
        check_flash_attention(OnTheGPU())


@pytest.mark.usefixtures("gpu")
def test_without_any_kernel_both_ways_to_one_are_named(monkeypatch):
    monkeypatch.setattr(flash_attention, "_found", Kernels(None, None, None, takes_scale=False))
    with pytest.raises(ImportError, match=naming("2.10", torch.__version__, "pip install flash-attn", "sdpa")):
        check_flash_attention(OnTheGPU())
    monkeypatch.setattr(flash_attention, "_found", Kernels(print, print, None, takes_scale=False))
    check_flash_attention(OnTheGPU())


@pytest.mark.parametrize("kernels", ["torch 2.10", "torch 2.11"])
def test_dropout_on_a_padded_batch_is_refused_by_pytorchs_kernels(kernels, monkeypatch):
    flash_kernels.install(kernels, monkeypatch)
    config = tiny_config({"attention_dropout": 0.25}, attn_implementation="flash_attention_2").text_config
    ids, mask = map(torch.from_numpy, token_ids())
    model = clip_torch.CLIPTextModel(config)
    assert torch.isfinite(model.eval()(ids, attention_mask=mask).pooler_output).all()
    with pytest.raises(ValueError, match=naming("attention_dropout=0.25", "flash-attn", "sdpa")):
        model.train()(ids, attention_mask=mask)


@pytest.mark.parametrize("kernels", flash_kernels.KERNELS)
def test_pictures_agree_with_eager(kernels, monkeypatch):
    flash_kernels.install(kernels, monkeypatch)
    model = clip_torch.CLIPVisionModel(tiny_config(attn_implementation="eager").vision_config).double().eval()
    pixels = torch.from_numpy(pixel_values()).double()
    expected = model(pixels).last_hidden_state
    model.set_attn_implementation("flash_attention_2")
    torch.testing.assert_close(model(pixels).last_hidden_state, expected, **FLOAT64)


def test_pytorchs_operation_computes_attention():
    """The operation that we call by its own name has the arguments we give it; its kernel for CPUs is another."""
    schema = torch.ops.aten._scaled_dot_product_flash_attention.default._schema
    assert {"query", "key", "value", "dropout_p", "is_causal", "scale"} <= {one.name for one in schema.arguments}
    assert str(schema.returns[0].type) == "Tensor"


def test_pytorchs_kernel_for_padded_batches_takes_what_we_give_it():
    from inspect import signature

    from torch.nn.attention.varlen import varlen_attn

    parameters = signature(varlen_attn).parameters.keys()
    assert flash_attention.kernels().torch_varlen is varlen_attn
    assert parameters >= ({"scale", "window_size"} if flash_attention.kernels().takes_scale else {"is_causal"})


@pytest.mark.parametrize("broken", [None, types.ModuleType("flash_attn")], ids=["missing", "without what we call"])
def test_a_package_that_does_not_import_counts_as_missing(broken, monkeypatch):
    monkeypatch.setitem(sys.modules, "flash_attn", broken)
    monkeypatch.setattr(flash_attention, "_found", None)
    found = flash_attention.kernels()
    assert (found.package_full, found.package_varlen) == (None, None)
    assert found.torch_varlen is not None


@pytest.mark.parametrize("kernels", flash_kernels.KERNELS)
def test_a_batch_of_no_texts_gives_none(kernels, monkeypatch):
    flash_kernels.install(kernels, monkeypatch)
    monkeypatch.setattr("clip_torch.plan.known_values", lambda tensor: None)
    model = clip_torch.CLIPTextModel(tiny_config(attn_implementation="flash_attention_2").text_config)
    empty = torch.zeros(0, 8, dtype=torch.long)
    assert model(empty, attention_mask=empty).last_hidden_state.shape == (0, 8, 40)


def test_flash_attention_is_not_imported_before_it_is_needed(run_program):
    assert run_program("import sys, clip_torch; print('torch.nn.attention.varlen' in sys.modules)").strip() == "False"
