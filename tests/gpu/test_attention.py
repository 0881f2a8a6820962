"""On a CUDA device: half precision in every attention implementation, forward and backward."""

from __future__ import annotations

import pytest
import torch

from support.gpu import DEVICE, assert_gradients, relative, torch_inputs, torch_model
from support.tolerances import HALF_PRECISION

pytestmark = pytest.mark.gpu
IMPLEMENTATIONS = ["eager", "sdpa", "flash_attention_2"]
DTYPES = ["float16", "bfloat16"]


def first(model, batch):
    with torch.no_grad():
        return model(**batch)[0].float().cpu().numpy()


def gradients(model, **options):
    model(**torch_inputs("CLIPModel", **options), return_loss=True).loss.backward()
    return {name: parameter.grad.float().cpu().numpy() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("empty_row", [False, True])
@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPTextModelWithProjection"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_half_precision_is_close_to_single(implementation, dtype, class_name, empty_row):
    batch = torch_inputs(class_name, empty_row=empty_row)
    ours = first(torch_model(class_name, implementation, dtype), batch)
    assert relative(ours, first(torch_model(class_name), batch)) < HALF_PRECISION[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_pictures_in_half_precision_are_close_to_single(implementation, dtype):
    name = "CLIPVisionModelWithProjection"
    ours = first(torch_model(name, implementation, dtype), torch_inputs(name))
    assert relative(ours, first(torch_model(name), torch_inputs(name))) < HALF_PRECISION[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_gradients_in_half_precision_are_close_to_single(implementation, dtype):
    expected = gradients(torch_model("CLIPModel"), empty_row=True)
    assert_gradients(gradients(torch_model("CLIPModel", implementation, dtype), empty_row=True), expected, dtype)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_the_documented_example_under_autocast(implementation):
    model = torch_model("CLIPModel", implementation)
    with torch.no_grad(), torch.autocast(DEVICE):
        ours = model(**torch_inputs("CLIPModel")).logits_per_image
    assert model.dtype == torch.float32
    expected = first(torch_model("CLIPModel"), torch_inputs("CLIPModel"))
    assert relative(ours.float().cpu().numpy(), expected) < HALF_PRECISION["bfloat16"]
