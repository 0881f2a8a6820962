"""On a CUDA device: half precision in every attention implementation, forward and backward."""

from __future__ import annotations

import pytest
import torch

import clip_torch
from support.gpu import DEVICE, arrays, config, relative
from support.tolerances import HALF_PRECISION, HALF_PRECISION_GRADIENTS

pytestmark = pytest.mark.gpu
IMPLEMENTATIONS = ["eager", "sdpa", "flash_attention_2"]
DTYPES = [torch.float16, torch.bfloat16]


def build(class_name, implementation="eager", dtype=torch.float32, text=None, vision=None):
    torch.manual_seed(0)
    model = getattr(clip_torch, class_name)(config(text, vision, attn_implementation=implementation))
    return model.to(DEVICE, dtype)


def inputs(class_name, **options):
    return {name: torch.from_numpy(array).to(DEVICE) for name, array in arrays(class_name, **options).items()}


def first(model, batch):
    with torch.no_grad():
        return model(**batch)[0].float().cpu().numpy()


def gradients(model, **options):
    model(**inputs("CLIPModel", **options), return_loss=True).loss.backward()
    return {name: parameter.grad.float() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("empty_row", [False, True])
@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPTextModelWithProjection"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_half_precision_is_close_to_single(implementation, dtype, class_name, empty_row):
    batch = inputs(class_name, empty_row=empty_row)
    ours = first(build(class_name, implementation, dtype), batch)
    assert relative(ours, first(build(class_name), batch)) < HALF_PRECISION[str(dtype)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_pictures_in_half_precision_are_close_to_single(implementation, dtype):
    name = "CLIPVisionModelWithProjection"
    ours = first(build(name, implementation, dtype), inputs(name))
    assert relative(ours, first(build(name), inputs(name))) < HALF_PRECISION[str(dtype)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_gradients_in_half_precision_are_close_to_single(implementation, dtype):
    expected = gradients(build("CLIPModel"), empty_row=True)
    ours = gradients(build("CLIPModel", implementation, dtype), empty_row=True)
    largest = max(gradient.abs().max().item() for gradient in expected.values())
    for name, gradient in expected.items():
        assert torch.isfinite(ours[name]).all(), name
        assert (ours[name] - gradient).abs().max() < HALF_PRECISION_GRADIENTS[str(dtype)] * largest, name


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_the_documented_example_under_autocast(implementation):
    model = build("CLIPModel", implementation)
    with torch.no_grad(), torch.autocast(DEVICE):
        ours = model(**inputs("CLIPModel")).logits_per_image
    assert model.dtype == torch.float32
    expected = first(build("CLIPModel"), inputs("CLIPModel"))
    assert relative(ours.float().cpu().numpy(), expected) < HALF_PRECISION["torch.bfloat16"]
