"""PEFT: adapters are trained, saved, loaded again and merged."""

from __future__ import annotations

import pytest
import torch
from clients.inputs import inputs

from support.tolerances import FLOAT32

peft = pytest.importorskip("peft")

ADAPTERS = {
    "lora": lambda: peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False),
    "dora": lambda: peft.LoraConfig(r=2, target_modules=["fc1", "fc2"], use_dora=True),
    "ia3": lambda: peft.IA3Config(target_modules=["k_proj", "v_proj", "fc2"], feedforward_modules=["fc2"]),
}


@pytest.mark.parametrize("kind", ADAPTERS)
def test_an_adapter_is_trained_saved_loaded_and_merged(agree, kind):
    def client(library, folder, out):
        model = library.CLIPModel.from_pretrained(folder)
        torch.manual_seed(0)
        model = peft.get_peft_model(model, ADAPTERS[kind]())
        optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-2)
        losses = []
        for _ in range(3):
            loss = model(**inputs(), return_loss=True).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.detach())
        model.save_pretrained(out)
        again = peft.PeftModel.from_pretrained(library.CLIPModel.from_pretrained(folder), out).eval()
        with torch.no_grad():
            logits = again(**inputs()).logits_per_image
            assert torch.equal(logits, model.eval()(**inputs()).logits_per_image)
            merged = again.merge_and_unload()(**inputs()).logits_per_image
        return {"losses": losses, "logits": logits, "merged": merged}

    agree(client, **FLOAT32)
