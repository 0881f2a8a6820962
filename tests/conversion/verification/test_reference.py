"""The definition in numpy agrees with PyTorch in float64, stage by stage, to twelve digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import clip_torch
from clip_core.configuration.checks import ACTIVATIONS
from converters.verification import reference
from support.configs import pixel_values, tiny_config, token_ids
from support.tolerances import FLOAT64_REFERENCE

CASES = {
    "tiny": ({}, {}),
    "legacy eos": ({"eos_token_id": 2}, {}),
    "pruned": ({"pruned_heads": {1: [0, 3]}}, {"pruned_heads": {0: [2]}}),
    **{name: ({"hidden_act": name}, {"hidden_act": name}) for name in ACTIVATIONS},
}


@pytest.mark.parametrize("mask", ["padded", "left", "one row empty", "none"])
@pytest.mark.parametrize("case", CASES)
def test_every_stage_is_pytorchs(case, mask):
    text, vision = CASES[case]
    config = tiny_config(text, vision, attn_implementation="eager")
    torch.manual_seed(0)
    model = clip_torch.CLIPModel(config).double().eval()
    ids, attended = token_ids()
    if mask == "left":
        attended = attended[:, ::-1].copy()
    elif mask == "one row empty":
        attended[1] = 0
    pixels = pixel_values(4).astype(np.float64)
    inputs = {"input_ids": ids, "pixel_values": pixels, **({} if mask == "none" else {"attention_mask": attended})}
    options = {"output_hidden_states": True, "output_attentions": True, "return_loss": True}
    with torch.no_grad():
        output = model(**{name: torch.from_numpy(array) for name, array in inputs.items()}, **options)
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    trace = reference.clip(weights, config, pixels, ids, inputs.get("attention_mask"))

    expected = {name: output[name] for name in ("image_embeds", "text_embeds", "logits_per_image", "loss")}
    for tower, found in (("vision", output.vision_model_output), ("text", output.text_model_output)):
        expected[f"{tower}.embeddings"], *layers = found.hidden_states
        expected |= {f"{tower}.layers.{index}": states for index, states in enumerate(layers)}
        expected |= {f"{tower}.layers.{index}.attention": w for index, w in enumerate(found.attentions)}
        expected[f"{tower}.pooled"] = found.pooler_output
    assert expected.keys() <= trace.keys()
    for name, tensor in expected.items():
        np.testing.assert_allclose(trace[name], tensor.numpy(), **FLOAT64_REFERENCE, err_msg=name)


def test_the_stages_come_in_the_order_of_computation():
    config = tiny_config()
    weights = {name: tensor.numpy() for name, tensor in clip_torch.CLIPModel(config).state_dict().items()}
    names = list(reference.clip(weights, config, pixel_values(2), token_ids()[0]))
    assert names[0] == "vision.embeddings"
    assert names.index("vision.pooled") < names.index("text.embeddings") < names.index("text.layers.2")
    assert names[-1] == "logits_per_image"  # no loss: two images, four texts
