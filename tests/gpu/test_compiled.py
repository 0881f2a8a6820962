"""On a CUDA device: fully compiled models, and CUDA graphs."""

from __future__ import annotations

import pytest
import torch

from support.gpu import REHEARSAL, relative, torch_inputs, torch_model
from support.tolerances import HALF_PRECISION

pytestmark = pytest.mark.gpu


def check(model, compiled, batch):
    with torch.no_grad():
        expected = model(**batch)[0].float().cpu()
        for _ in range(3):  # CUDA graphs are recorded in the second run and replayed from the third
            ours = compiled(**batch)[0].float().cpu()
            assert relative(ours, expected) < HALF_PRECISION["float16"]


@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPForImageClassification"])
def test_compiled_whole(class_name):
    model = torch_model(class_name, "sdpa", "float16").eval()
    check(model, torch.compile(model, fullgraph=True), torch_inputs(class_name))


def test_pictures_compiled_whole_with_flash_attention():
    model = torch_model("CLIPVisionModelWithProjection", "flash_attention_2", "float16").eval()
    check(model, torch.compile(model, fullgraph=True), torch_inputs("CLIPVisionModelWithProjection"))


@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPTextModel", "CLIPVisionModel"])
def test_replayed_as_a_cuda_graph(class_name):
    model = torch_model(class_name, "sdpa", "float16").eval()
    check(model, torch.compile(model, backend="aot_eager" if REHEARSAL else "cudagraphs"), torch_inputs(class_name))
