"""Full-size B/32, with gradients and a training step: all frameworks agree with the reference."""

from __future__ import annotations

import pytest
import torch

import clip_torch
from clip_core.configuration import CLIPConfig
from converters.verification.tolerances import TOLERANCES
from converters.verification.verify import REFERENCE, verify

NUMBERS = 151_277_313  # as OpenAI's B/32 has them


@pytest.fixture
def checkpoint(tmp_path):
    """Random weights; biases and norms are moved away from their initial zeros and ones."""
    torch.manual_seed(0)
    model = clip_torch.CLIPModel(CLIPConfig())
    assert model.num_parameters() == NUMBERS
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) / 20)
    model.save_pretrained(tmp_path)
    return tmp_path


def test_every_stage_gradient_and_updated_parameter_agrees(checkpoint, monkeypatch):
    monkeypatch.delenv("XLA_FLAGS")  # as a user's XLA optimizes
    frameworks = [REFERENCE, "torch", "tf", "flax"]
    result = verify(checkpoint, backends=frameworks, gradients=True, train_step=True, explain=True)
    assert result.passed, result.verdict()
    assert set(result.worst_of_groups()) == set(TOLERANCES)
    layers = {one.stage for one in result.comparisons if one.group == "hidden states"}
    assert {"vision.layers.11", "text.layers.11"} <= layers
