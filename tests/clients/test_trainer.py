"""transformers' Trainer, and accelerate beneath it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from clients.inputs import inputs

from support.tolerances import FLOAT32

accelerate = pytest.importorskip("accelerate")
transformers = pytest.importorskip("transformers")


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
