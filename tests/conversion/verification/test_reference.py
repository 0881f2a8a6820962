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


@pytest.mark.parametrize("size", [(42, 24), (30, 30), (9, 63), (33, 35)])
def test_interpolated_positions_are_pytorchs(size):
    config = tiny_config().vision_config
    model = clip_torch.CLIPVisionModel(config).double().eval()
    with torch.no_grad():
        model.vision_model.embeddings.position_embedding.weight.normal_()
    pixels = np.random.default_rng(0).standard_normal((2, config.num_channels, *size))
    with torch.no_grad():
        expected = model(torch.from_numpy(pixels), interpolate_pos_encoding=True)
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    inputs = {"pixel_values": pixels, "interpolate_pos_encoding": True}
    trace = reference.stages_of("CLIPVisionModel", weights, config, **inputs)
    np.testing.assert_allclose(trace["vision.pooled"], expected.pooler_output.numpy(), **FLOAT64_REFERENCE)
    np.testing.assert_allclose(trace["vision.layers.1"], expected.last_hidden_state.numpy(), **FLOAT64_REFERENCE)


@pytest.mark.parametrize("rows", [1, 4])
def test_given_positions_are_pytorchs(rows):
    config = tiny_config().text_config
    model = clip_torch.CLIPTextModel(config).double().eval()
    ids, mask = token_ids()
    positions = np.random.default_rng(0).integers(0, config.max_position_embeddings, (rows, ids.shape[1]))
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    with torch.no_grad():
        expected = model(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    trace = reference.stages_of("CLIPTextModel", weights, config, **inputs)
    np.testing.assert_allclose(trace["text.pooled"], expected.pooler_output.numpy(), **FLOAT64_REFERENCE)


LABELS = {
    "classes": (5, None, np.array([4, 0, 2])),
    "an ignored class": (5, None, np.array([4, -100, 2])),
    "labels": (5, None, np.array([[0, 1, 1, 0, 1.0]] * 3)),
    "named labels": (2, "multi_label_classification", np.array([[0, 1.0], [1, 1], [0, 0]])),
    "one number": (1, None, np.array([0.5, -1, 2])),
    "numbers": (2, "regression", np.array([[0.5, -1], [2, 0], [1, 1]])),
}


@pytest.mark.parametrize("case", LABELS)
def test_a_classifiers_loss_is_pytorchs(case):
    count, problem_type, labels = LABELS[case]
    config = tiny_config(num_labels=count, problem_type=problem_type)
    model = clip_torch.CLIPForImageClassification(config).double().eval()
    pixels = pixel_values(3).astype(np.float64)
    with torch.no_grad():
        expected = model(torch.from_numpy(pixels), labels=torch.from_numpy(labels))
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    trace = reference.stages_of("CLIPForImageClassification", weights, config, pixel_values=pixels, labels=labels)
    np.testing.assert_allclose(trace["loss"], expected.loss.numpy(), **FLOAT64_REFERENCE)
    np.testing.assert_allclose(trace["logits"], expected.logits.numpy(), **FLOAT64_REFERENCE)


def test_the_stages_come_in_the_order_of_computation():
    config = tiny_config()
    weights = {name: tensor.numpy() for name, tensor in clip_torch.CLIPModel(config).state_dict().items()}
    names = list(reference.clip(weights, config, pixel_values(2), token_ids()[0]))
    assert names[0] == "vision.embeddings"
    assert names.index("vision.pooled") < names.index("text.embeddings") < names.index("text.layers.2")
    assert names[-1] == "logits_per_image"  # no loss: two images, four texts
