"""The callback for transformers' Trainer; tests/clients runs it in a Trainer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

import clip_torch
from clip_torch.callbacks import SaveConfigCallback
from support.configs import tiny_config


def events(callback, folder, model, *, should_save=True):
    args, state = SimpleNamespace(output_dir=str(folder), should_save=should_save), SimpleNamespace(global_step=4)
    for event in ("on_init_end", "on_train_begin", "on_step_end", "on_save"):
        getattr(callback, event)(args, state, None, model=model, optimizer=None)


def test_the_config_is_saved_for_each_checkpoint_and_for_the_final_model(tmp_path):
    model = clip_torch.CLIPModel(tiny_config()).to(torch.bfloat16)
    events(SaveConfigCallback(), tmp_path, model)
    for folder in (tmp_path, tmp_path / "checkpoint-4"):
        config = clip_torch.CLIPConfig.from_pretrained(folder)
        assert config.architectures == ["CLIPModel"]
        assert config.dtype == "bfloat16"
        assert config.vision_config.hidden_size == model.config.vision_config.hidden_size


@pytest.mark.parametrize(("model", "should_save"), [(torch.nn.Linear(1, 1), True), (None, False)])
def test_nothing_is_saved_for_other_models_and_other_processes(tmp_path, model, should_save):
    events(SaveConfigCallback(), tmp_path, model, should_save=should_save)
    assert list(tmp_path.iterdir()) == []


def test_only_events_are_ignored():
    assert not hasattr(SaveConfigCallback(), "save")
