"""Layers with random weights: exactly torch's classes, drawn once, and not at all on the meta device."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from clip_torch.initialization import embedding, linear, patch_convolution
from support.tolerances import MANY_DRAWN_WEIGHTS

MADE = {
    nn.Linear: lambda: linear(300, 200, std=0.3),
    nn.Embedding: lambda: embedding(300, 200, std=0.3),
    nn.Conv2d: lambda: patch_convolution(3, 200, 10, std=0.3),
}


@pytest.mark.parametrize("layer_class", MADE)
def test_a_layer_is_exactly_of_torchs_class(layer_class):
    """Dynamic quantization and our preparation for inference require the exact class."""
    layer = MADE[layer_class]()
    assert type(layer) is layer_class
    assert layer.weight.std().item() == pytest.approx(0.3, rel=MANY_DRAWN_WEIGHTS)
    layer.reset_parameters()  # torch's own again
    assert layer.weight.std().item() != pytest.approx(0.3, rel=MANY_DRAWN_WEIGHTS)


@pytest.mark.parametrize("layer_class", MADE)
def test_nothing_is_drawn_but_what_stays(layer_class):
    torch.manual_seed(0)
    weight = MADE[layer_class]().weight
    torch.manual_seed(0)
    assert torch.equal(weight, torch.empty_like(weight).normal_(std=0.3))


@pytest.mark.parametrize("layer_class", MADE)
def test_on_the_meta_device_nothing_is_drawn(layer_class):
    before = torch.get_rng_state()
    with torch.device("meta"):
        layer = MADE[layer_class]()
    assert layer.weight.is_meta
    assert torch.equal(torch.get_rng_state(), before)


def test_a_bias_is_zero_or_not_there():
    assert not linear(3, 2, std=1.0).bias.any()
    assert linear(3, 2, std=1.0, bias=False).bias is None
    assert patch_convolution(3, 2, 4, std=1.0).bias is None
