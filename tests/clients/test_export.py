"""ONNX: both of PyTorch's exporters, run by ONNX Runtime."""

from __future__ import annotations

import pytest
import torch
from clients.inputs import inputs

from support.tolerances import FLOAT32

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

INPUTS = {"CLIPModel": ("input_ids", "pixel_values", "attention_mask"), "CLIPTextModel": ("input_ids",)}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("class_name", INPUTS)
def test_onnx_runtime_gives_the_models_outputs(agree, class_name, dynamo):
    def client(library, folder, out):
        model = getattr(library, class_name).from_pretrained(folder).eval()
        given = {name: inputs()[name] for name in INPUTS[class_name]}
        with torch.no_grad():
            torch.onnx.export(
                model,
                tuple(given.values()),
                str(out / "model.onnx"),
                dynamo=dynamo,
                input_names=list(given),
                **({} if dynamo else {"opset_version": 18}),
            )
        session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
        return session.run(None, {name: tensor.numpy() for name, tensor in given.items()})

    agree(client, **FLOAT32)
