"""The reference's stages, gradients and step of training are PyTorch's in float64, for every class."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import clip_torch
from clip_core.modeling import stages
from clip_core.modeling.parameters import MODEL_CLASSES, parameter_table
from clip_torch.backend import backend as torch_backend
from converters.verification.reference_trace import trace
from support import tolerances
from support.configs import inputs_for, tiny_config
from support.entries import part_of

CASES = {
    **{name: (name, {}, 4) for name in MODEL_CLASSES},
    "no loss": ("CLIPModel", {}, 3),
    "legacy eos": ("CLIPModel", {"eos_token_id": 2}, 4),
    "quick_gelu": ("CLIPTextModel", {"hidden_act": "quick_gelu"}, 4),
    "pruned": ("CLIPTextModelWithProjection", {"pruned_heads": {1: [0, 3]}}, 4),
}


def _saved(case, folder, dtype=torch.float64):
    class_name, text, pictures = CASES[case]
    torch.manual_seed(0)
    config = part_of(tiny_config(text, num_labels=7), class_name)
    model = getattr(clip_torch, class_name)(config).to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases start at zero, and norms at one
            parameter.add_(torch.randn_like(parameter) / 20)
    model.save_pretrained(folder)
    inputs = inputs_for(class_name)
    return (
        model,
        class_name,
        {name: array[:pictures] if name == "pixel_values" else array for name, array in inputs.items()},
    )


@pytest.mark.parametrize("case", CASES)
def test_gradients_and_updates_are_pytorchs(case, tmp_path):
    model, class_name, inputs = _saved(case, tmp_path)
    found = trace(tmp_path, inputs, class_name=class_name, dtype="float64", gradients=True, train_step=True)
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    if "pixel_values" in tensors:
        tensors["pixel_values"] = tensors["pixel_values"].double()
    options = {"return_loss": True} if case in {"CLIPModel", "legacy eos"} else {}
    outputs = model(**tensors, **options)
    name, weights = stages.objective(outputs)
    (outputs[name] if weights is None else (outputs[name] * torch.from_numpy(weights)).sum()).backward()
    gradients = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    assert {name.removeprefix("gradient.") for name in found if name.startswith("gradient.")} == set(gradients)
    rows = tolerances.FLOAT64_REFERENCE_GRADIENTS
    largest = max(np.abs(gradient).max() for gradient in gradients.values())
    for name, gradient in gradients.items():
        differences = {"rtol": rows["rtol"], "atol": rows["atol"] * largest}
        np.testing.assert_allclose(found[f"gradient.{name}"], gradient, **differences, err_msg=name)
    expected = _stepped(model)
    assert {name.removeprefix("updated.") for name in found if name.startswith("updated.")} == set(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[f"updated.{name}"], array, **rows, err_msg=name)


def _stepped(model):
    """Return the parameters after a step of PyTorch's own AdamW."""
    for name, parameter in model.named_parameters():
        decay = stages.WEIGHT_DECAY if stages.decays(name) else 0.0
        betas = (stages.BETA_1, stages.BETA_2)
        torch.optim.AdamW(
            [parameter], lr=stages.LEARNING_RATE, betas=betas, eps=stages.EPSILON, weight_decay=decay
        ).step()
    return {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("class_name", MODEL_CLASSES)
def test_it_gives_what_a_backend_gives_in_the_same_order(class_name, tmp_path):
    _, class_name, inputs = _saved(class_name, tmp_path)
    options = {"class_name": class_name, "gradients": True, "train_step": True}
    found, expected = (run(tmp_path, inputs, **options) for run in (trace, torch_backend.trace))
    assert set(found) == set(expected)
    stages_found, stages_expected = ([name for name in names if _is_stage(name)] for names in (found, expected))
    assert stages_found == stages_expected
    for name in stages_found:
        tolerance = tolerances.HIDDEN_STATES * np.abs(found[name]).max()
        assert np.abs(expected[name] - found[name]).max() <= tolerance, name


def _is_stage(name):
    return not name.startswith(("gradient.", "updated."))


def test_gradients_change_no_stage(tmp_path):
    _, _, inputs = _saved("CLIPModel", tmp_path)
    plain, tracked = (trace(tmp_path, inputs, dtype="float64", gradients=gradients) for gradients in (False, True))
    for name, array in plain.items():
        np.testing.assert_array_equal(array, tracked[name], err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_weights_are_rounded_as_a_backend_rounds_them(dtype, tmp_path):
    model, _, inputs = _saved("CLIPModel", tmp_path, torch.float32)
    found = trace(tmp_path, inputs, dtype=dtype)
    model.to(getattr(torch, dtype)).save_pretrained(tmp_path / "rounded")
    expected = trace(tmp_path / "rounded", inputs, dtype="float64")
    assert all(array.dtype == np.float64 for array in found.values())
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_parameters_without_a_gradient_are_left_alone(tmp_path):
    model, class_name, inputs = _saved("CLIPForImageClassification", tmp_path)
    found = trace(tmp_path, inputs, class_name=class_name, dtype="float64", train_step=True)
    name = "vision_model.post_layernorm.weight"
    assert {key.removeprefix("updated.") for key in found} >= set(parameter_table(model.config, class_name))
    np.testing.assert_array_equal(found[f"updated.{name}"], model.get_parameter(name).detach().numpy())
