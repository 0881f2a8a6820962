"""On a CUDA device: weights loaded directly to it."""

from __future__ import annotations

import pytest
import torch

import clip_torch
from support.gpu import DEVICE, config

pytestmark = pytest.mark.gpu
DEVICE_MAPS = [DEVICE, f"{DEVICE}:0", "auto", {"": f"{DEVICE}:0"}, torch.device(DEVICE)]


@pytest.mark.parametrize("device_map", DEVICE_MAPS, ids=str)
def test_weights_load_straight_to_the_device(device_map, tmp_path):
    clip_torch.CLIPModel(config()).save_pretrained(tmp_path)
    model = clip_torch.CLIPModel.from_pretrained(tmp_path, device_map=device_map, dtype=torch.float16)
    assert {parameter.device.type for parameter in model.parameters()} == {DEVICE}
    assert model.dtype == torch.float16
    model.save_pretrained(tmp_path / "again")
    again = clip_torch.CLIPModel.from_pretrained(tmp_path / "again", dtype="auto").state_dict()
    assert all(torch.equal(tensor.cpu(), again[name]) for name, tensor in model.state_dict().items())
