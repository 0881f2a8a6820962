"""Lightning: a module that holds a model is trained."""

from __future__ import annotations

import pytest
import torch
from clients.inputs import inputs

from support.tolerances import FLOAT32

lightning = pytest.importorskip("lightning")


class Tuned(lightning.LightningModule):
    """A CLIP and its optimizer."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def training_step(self, batch, index):
        return self.model(**batch, return_loss=True).loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-2)


@pytest.mark.filterwarnings("ignore")
def test_lightning_trains_a_model(agree):
    def client(library, folder, out):
        tuned = Tuned(library.CLIPModel.from_pretrained(folder))
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        run = lightning.Trainer(max_steps=2, accelerator="cpu", default_root_dir=out, **quiet)
        run.fit(tuned, torch.utils.data.DataLoader([inputs()] * 2, batch_size=None))
        return {name: tensor for name, tensor in tuned.model.state_dict().items() if "position_ids" not in name}

    agree(client, **FLOAT32)
