"""On a CUDA device: half precision, the three attention implementations, and loading straight to the device."""

from __future__ import annotations

import importlib.util

import pytest
import torch

import clip_torch
from support.configs import pixel_values, tiny_config, token_ids
from support.tolerances import HALF_PRECISION, HALF_PRECISION_GRADIENTS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
needs_flash = pytest.mark.skipif(importlib.util.find_spec("flash_attn") is None, reason="needs the flash-attn package")
IMPLEMENTATIONS = ["eager", "sdpa", pytest.param("flash_attention_2", marks=needs_flash)]
DTYPES = [torch.float16, torch.bfloat16]

# Widths whose heads FlashAttention takes: 64 and 80, as in ViT-B and ViT-H.
CONFIG = {
    "text": {"hidden_size": 192, "num_attention_heads": 3},
    "vision": {"hidden_size": 160, "num_attention_heads": 2, "num_channels": 3},
}


def build(class_name, implementation="eager", dtype=torch.float32):
    torch.manual_seed(0)
    model = getattr(clip_torch, class_name)(tiny_config(**CONFIG, num_labels=5, attn_implementation=implementation))
    return model.to("cuda", dtype)


def inputs(class_name, *, empty_row=False):
    ids, mask = (torch.from_numpy(array).cuda() for array in token_ids(6))
    if empty_row:
        mask[2] = 0
    text, pixels = {"input_ids": ids, "attention_mask": mask}, torch.from_numpy(pixel_values(6, channels=3)).cuda()
    if class_name == "CLIPModel":
        return text | {"pixel_values": pixels}
    return text if "Text" in class_name else {"pixel_values": pixels}


def relative(ours, expected):
    return ((ours.float() - expected.float()).abs().max() / expected.float().abs().max()).item()


@pytest.mark.parametrize("empty_row", [False, True])
@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPTextModelWithProjection", "CLIPVisionModelWithProjection"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_half_precision_is_close_to_single(implementation, dtype, class_name, empty_row):
    if empty_row and class_name.startswith("CLIPVision"):
        pytest.skip("pictures have no padding")
    batch = inputs(class_name, empty_row=empty_row)
    with torch.no_grad():
        expected = build(class_name)(**batch)[0]
        ours = build(class_name, implementation, dtype)(**batch)[0]
    assert torch.isfinite(ours).all()
    assert relative(ours, expected) < HALF_PRECISION[str(dtype)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_gradients_in_half_precision_are_close_to_single(implementation, dtype):
    def gradients(model):
        model(**inputs("CLIPModel", empty_row=True), return_loss=True).loss.backward()
        return {name: parameter.grad for name, parameter in model.named_parameters()}

    expected, ours = gradients(build("CLIPModel")), gradients(build("CLIPModel", implementation, dtype))
    largest = max(gradient.abs().max().item() for gradient in expected.values())
    for name, gradient in expected.items():
        assert torch.isfinite(ours[name]).all(), name
        assert (ours[name].float() - gradient).abs().max() < HALF_PRECISION_GRADIENTS[str(dtype)] * largest, name


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_the_documented_example_under_autocast(implementation):
    model = build("CLIPModel", implementation)
    with torch.no_grad(), torch.autocast("cuda"):
        ours = model(**inputs("CLIPModel"))
    assert model.dtype == torch.float32
    assert relative(ours.logits_per_image, build("CLIPModel")(**inputs("CLIPModel")).logits_per_image) < 0.05


@needs_flash
def test_flash_attention_refuses_single_precision():
    with pytest.raises(ValueError, match=r"needs float16 or bfloat16.*float32"):
        build("CLIPTextModel", "flash_attention_2")(**inputs("CLIPTextModel"))


@pytest.mark.parametrize("device_map", ["cuda", "cuda:0", "auto", 0, {"": 0}])
def test_weights_load_straight_to_the_device(device_map, tmp_path):
    build("CLIPModel").save_pretrained(tmp_path)
    model = clip_torch.CLIPModel.from_pretrained(tmp_path, device_map=device_map, dtype=torch.float16)
    assert {parameter.device.type for parameter in model.parameters()} == {"cuda"}
    assert model.dtype == torch.float16
    model.save_pretrained(tmp_path / "again")
    again = clip_torch.CLIPModel.from_pretrained(tmp_path / "again", dtype="auto").state_dict()
    assert all(torch.equal(tensor.cpu(), again[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPForImageClassification"])
def test_compiled_for_the_device(class_name):
    model = build(class_name, "sdpa", torch.float16).eval()
    with torch.no_grad():
        expected = model(**inputs(class_name))[0]
        compiled = torch.compile(model, fullgraph=True)(**inputs(class_name))[0]
    assert relative(compiled, expected) < HALF_PRECISION["torch.float16"]
