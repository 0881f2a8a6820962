"""torch.compile in training, with the loss, by Inductor and under autocast; exported programs in another process."""

from __future__ import annotations

import pytest
import torch

from support.configs import CLASSES, SHALLOW, pixel_values, token_ids
from support.tolerances import EMBEDDINGS, FLOAT32, HALF_PRECISION_LOGITS, ROUNDING
from support.torch_models import build, tensors


def model_and_inputs(class_name, **config):
    return build(class_name, **SHALLOW, **config), tensors(class_name)


def assert_same(ours, expected):
    assert type(ours) is type(expected)
    assert list(ours) == list(expected)
    for name in expected:
        if isinstance(expected[name], torch.Tensor):
            torch.testing.assert_close(ours[name], expected[name], **FLOAT32)


@pytest.mark.parametrize("class_name", CLASSES)
def test_a_compiled_model_trains(class_name):
    model, inputs = model_and_inputs(class_name)
    output = torch.compile(model.train(), fullgraph=True, backend="aot_eager")(**inputs)
    output[0].square().sum().backward()
    assert any(parameter.grad is not None for parameter in model.parameters())


def test_inductor_gives_the_same_numbers():
    model, inputs = model_and_inputs("CLIPModel")
    with torch.no_grad():
        expected = model(**inputs)
        model.compile(fullgraph=True)
        assert_same(model(**inputs), expected)


def test_a_model_with_its_loss_compiles_into_one_graph():
    model = build(**SHALLOW)
    inputs = torch.from_numpy(token_ids(4)[0]), torch.from_numpy(pixel_values(4))
    compiled = torch.compile(model, fullgraph=True, backend="eager", dynamic=True)
    with torch.no_grad():
        ours, expected = (one(*inputs, return_loss=True).loss for one in (compiled, model))
        torch.testing.assert_close(ours, expected, rtol=ROUNDING, atol=0)


LOADING = """
import sys, torch, clip_torch
torch.save(torch.export.load(sys.argv[1]).module()(**torch.load(sys.argv[2])).to_tuple(), sys.argv[3])
"""


@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPForImageClassification"])
def test_an_exported_model_can_be_saved_and_loaded_elsewhere(class_name, tmp_path, run_program):
    model, inputs = model_and_inputs(class_name)
    exported = torch.export.export(model, (), inputs)
    files = [tmp_path / name for name in ("model.pt2", "inputs.pt", "outputs.pt")]
    torch.export.save(exported, files[0])
    torch.save(inputs, files[1])
    run_program(LOADING, *files)
    torch.testing.assert_close(
        torch.load(files[2]), exported.module()(**inputs).to_tuple(), rtol=ROUNDING, atol=EMBEDDINGS
    )


def test_output_attentions_compiles_where_eager_takes_over():
    model, inputs = model_and_inputs("CLIPTextModel")
    with torch.no_grad():
        compiled = torch.compile(model, fullgraph=True, backend="eager")(**inputs, output_attentions=True)
    assert len(compiled.attentions) == 1


def test_autocast_keeps_the_weights_and_runs_in_half_precision():
    model, inputs = model_and_inputs("CLIPModel")
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(**inputs)
    assert model.dtype == torch.float32
    assert output.text_model_output.hidden_states is None
    torch.testing.assert_close(
        output.logits_per_image.float(), model(**inputs).logits_per_image, **HALF_PRECISION_LOGITS
    )
