"""In half precision every step has the reference's dtype; any other would change bits."""

from __future__ import annotations

import numpy as np
import pytest

import clip_torch
from support.configs import inputs_for, tiny_config
from support.oracle import torch_outputs


@pytest.fixture(scope="module")
def folder(tmp_path_factory, oracle):
    folder = tmp_path_factory.mktemp("half")
    # Not gelu_new, which the reference writes out and rounds at each step; ours is PyTorch's own, of one rounding.
    tiny_config({}, {"hidden_act": "quick_gelu"}).save_pretrained(folder)
    oracle("save_reference", folder=str(folder), model_class="CLIPModel")
    return str(folder)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_outputs_and_loss_equal_the_references_to_the_bit(oracle, folder, dtype, implementation):
    inputs = inputs_for("CLIPModel")
    options = {"return_loss": True, "output_hidden_states": True}
    model = clip_torch.CLIPModel.from_pretrained(folder, dtype=dtype, attn_implementation=implementation)
    ours = torch_outputs(model, inputs, options)
    arguments = {"folder": folder, "model_class": "CLIPModel", "inputs": inputs, "options": options}
    reference = oracle("torch_forward", **arguments, dtype=dtype, attn_implementation=implementation)
    assert ours.keys() == reference.keys()
    assert [name for name, expected in reference.items() if not np.array_equal(ours[name], expected)] == []
