"""On a CUDA device: fully compiled models, and CUDA graphs."""

from __future__ import annotations

import pytest
import torch

import clip_torch
from support.gpu import DEVICE, REHEARSAL, arrays, config, relative
from support.tolerances import HALF_PRECISION

pytestmark = pytest.mark.gpu


def build(class_name, implementation):
    torch.manual_seed(0)
    model = getattr(clip_torch, class_name)(config(attn_implementation=implementation))
    return model.to(DEVICE, torch.float16).eval()


def inputs(class_name):
    return {name: torch.from_numpy(array).to(DEVICE) for name, array in arrays(class_name).items()}


def check(model, compiled, batch):
    with torch.no_grad():
        expected = model(**batch)[0].float().cpu()
        for _ in range(3):  # CUDA graphs are recorded in the second run and replayed from the third
            ours = compiled(**batch)[0].float().cpu()
            assert relative(ours, expected) < HALF_PRECISION["torch.float16"]


@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPForImageClassification"])
def test_compiled_whole(class_name):
    model = build(class_name, "sdpa")
    check(model, torch.compile(model, fullgraph=True), inputs(class_name))


def test_pictures_compiled_whole_with_flash_attention():
    model = build("CLIPVisionModelWithProjection", "flash_attention_2")
    check(model, torch.compile(model, fullgraph=True), inputs("CLIPVisionModelWithProjection"))


@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPTextModel", "CLIPVisionModel"])
def test_replayed_as_a_cuda_graph(class_name):
    model = build(class_name, "sdpa")
    check(model, torch.compile(model, backend="aot_eager" if REHEARSAL else "cudagraphs"), inputs(class_name))
