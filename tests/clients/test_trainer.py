"""transformers' Trainer, and accelerate beneath it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from clients.inputs import inputs

from support.tolerances import FLOAT32

accelerate = pytest.importorskip("accelerate")
transformers = pytest.importorskip("transformers")


# Trainer is imported after the model was made; the configuration of another module is not saved.
LATE = """
import sys
from pathlib import Path

from torch import nn

from clip_torch import CLIPModel
from support.configs import tiny_config

model = CLIPModel(tiny_config())
from transformers import Trainer, TrainingArguments

folder = Path(sys.argv[1])
arguments = TrainingArguments(str(folder / "out"), report_to=[], use_cpu=True)
Trainer(model, arguments).save_model(str(folder / "elsewhere"))
Trainer(nn.Linear(1, 1), arguments).save_model(str(folder / "other"))
assert not (folder / "other" / "config.json").exists()
"""


class Pairs(torch.utils.data.Dataset):
    """The inputs, one by one."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {name: tensor[index] for name, tensor in inputs().items()}


def trainer(model, out, **options):
    settings = {"report_to": [], "disable_tqdm": True, "use_cpu": True, "per_device_eval_batch_size": 2}
    settings |= {"per_device_train_batch_size": 2, "num_train_epochs": 2, "save_steps": 2}
    # Not Adam, which magnifies the rounding in a gradient that is zero, such as that of a key's bias.
    settings |= {"learning_rate": 1e-2, "optim": "sgd"}
    arguments = transformers.TrainingArguments(str(out), **settings)
    return transformers.Trainer(model, arguments, train_dataset=Pairs(), eval_dataset=Pairs(), **options)


class WithLoss:
    """A collator that asks for the loss."""

    def __call__(self, rows):
        return {**transformers.default_data_collator(rows), "return_loss": True}


def test_trainer_trains_and_its_checkpoint_loads(agree):
    from clip_torch.callbacks import SaveConfigCallback

    def client(library, folder, out):
        model = library.CLIPModel.from_pretrained(folder)
        run = trainer(model, out, data_collator=WithLoss(), callbacks=[SaveConfigCallback()])
        run.train()
        run.save_model()
        for saved in (out, out / "checkpoint-4"):
            assert (saved / "config.json").is_file()
            assert library.CLIPModel.from_pretrained(saved).config.vision_config.hidden_size == 36
        losses = [row["train_loss"] for row in run.state.log_history if "train_loss" in row]
        return {"losses": losses, "weights": dict(library.CLIPModel.from_pretrained(out).state_dict())}

    agree(client, **FLOAT32)


def test_every_save_has_a_configuration_without_a_callback(agree, tmp_path):
    def client(library, folder, out):
        run = trainer(library.CLIPModel.from_pretrained(folder), out, data_collator=WithLoss())
        run.train()
        run.save_model()
        elsewhere = tmp_path / library.__name__ / "elsewhere"
        run.save_model(str(elsewhere))
        weights = [
            library.CLIPModel.from_pretrained(one).state_dict() for one in (out, out / "checkpoint-4", elsewhere)
        ]
        assert not library.CLIPModel.from_pretrained(elsewhere, output_loading_info=True)[1]["missing_keys"]
        return [dict(one) for one in weights]

    agree(client, **FLOAT32)


def test_a_trainer_imported_after_the_model_was_made_saves_its_configuration(run_program, tmp_path):
    run_program(LATE, tmp_path)
    assert (tmp_path / "elsewhere" / "config.json").is_file()


def test_trainer_predicts_without_labels(agree):
    def client(library, folder, out):
        model = library.CLIPModel.from_pretrained(folder)
        predicted = trainer(model, out).predict(Pairs())
        assert predicted.label_ids is None
        return [array for array in predicted.predictions if isinstance(array, np.ndarray)]

    agree(client)


def test_accelerate_returns_float32_from_bfloat16(agree):
    def client(library, folder, out):
        accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)  # what other tests left
        accelerator = accelerate.Accelerator(cpu=True, mixed_precision="bf16")
        model = accelerator.prepare(library.CLIPModel.from_pretrained(folder))
        output = model(**inputs())
        assert output.logits_per_image.dtype == output.text_model_output.pooler_output.dtype == torch.float32
        output.logits_per_image.detach().numpy()
        return output

    agree(client)
