"""torchao: int8 weights, and int8 activations with them."""

from __future__ import annotations

import pytest
import torch
from clients.inputs import inputs

quantization = pytest.importorskip("torchao.quantization")

KINDS = ["Int8WeightOnlyConfig", "Int8DynamicActivationInt8WeightConfig"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_a_quantized_model_gives_the_same_outputs(agree, kind):
    def client(library, folder, out):
        model = library.CLIPModel.from_pretrained(folder).eval()
        before = model.text_model.encoder.layers[0].mlp.fc1.weight
        quantization.quantize_(model, getattr(quantization, kind)())
        weight = model.text_model.encoder.layers[0].mlp.fc1.weight
        assert type(weight) is not type(before)
        with torch.no_grad():
            output = model(**inputs())
        torch.save(model.state_dict(), out / "weights.pt")
        again = library.CLIPModel.from_pretrained(folder).eval()
        again.load_state_dict(torch.load(out / "weights.pt", weights_only=False), assign=True)
        with torch.no_grad():
            assert torch.equal(again(**inputs()).logits_per_image, output.logits_per_image)
        return {"outputs": output, "weight": weight.dequantize()}

    agree(client)
