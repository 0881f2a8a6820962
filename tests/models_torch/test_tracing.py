"""torch.jit.trace: the program gives the model's outputs, also for a batch of another size."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

import clip_torch
from support.configs import EOS_TOKEN_ID, tiny_config
from support.entries import assert_identical
from support.oracle import flatten

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),  # of the checks of shapes, whose answers stay
]


@pytest.fixture(autouse=True)
def uncompiled():
    """Spare the seconds in which TorchScript compiles what it ran once."""
    with torch.jit.optimized_execution(False):
        yield


def inputs(texts, images):
    random = np.random.default_rng(texts)
    ids = random.integers(1, 90, (texts, 12))
    ids[:, -1] = EOS_TOKEN_ID
    ids[0, 4:] = [EOS_TOKEN_ID] + [0] * 7
    pixels = random.standard_normal((images, 2, 30, 30), np.float32)
    mask = torch.from_numpy((ids != 0).astype(np.int64))
    return torch.from_numpy(ids), torch.from_numpy(pixels), mask


def build(class_name, **options):
    torch.manual_seed(0)
    config = tiny_config({"hidden_act": "quick_gelu"}, {"hidden_act": "quick_gelu"})
    for part in (config, config.text_config, config.vision_config):
        part.return_dict = options.get("return_dict", True)
    return getattr(clip_torch, class_name)(config).eval()


def arguments(class_name, texts, images):
    ids, pixels, mask = inputs(texts, images)
    if class_name == "CLIPModel":
        return ids, pixels, mask
    return (ids, mask) if "Text" in class_name else (pixels,)


def assert_traced(model, class_name, **options):
    traced = torch.jit.trace(model, arguments(class_name, 2, 2), **options)
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    loaded = torch.jit.load(file)
    for sizes in ((2, 2), (3, 4)):
        given = arguments(class_name, *sizes)
        assert_identical(flatten(loaded(*given)), flatten(model(*given)))


CLASSES = (
    "CLIPTextModel",
    "CLIPTextModelWithProjection",
    "CLIPVisionModelWithProjection",
    "CLIPForImageClassification",
)


@pytest.mark.parametrize("class_name", [*CLASSES, "CLIPModel"])
def test_a_trace_that_returns_tuples_gives_the_models_outputs(class_name):
    assert_traced(build(class_name, return_dict=False), class_name)


@pytest.mark.parametrize("class_name", CLASSES[1:3])
def test_a_trace_that_returns_a_dictionary_gives_the_models_outputs(class_name):
    assert_traced(build(class_name), class_name, strict=False)


def test_a_model_loaded_for_torchscript_returns_tuples_and_is_traced(tmp_path):
    build("CLIPModel").save_pretrained(tmp_path)
    model = clip_torch.CLIPModel.from_pretrained(tmp_path, torchscript=True)
    assert isinstance(model(*arguments("CLIPModel", 2, 2)), tuple)
    assert_traced(model, "CLIPModel")
