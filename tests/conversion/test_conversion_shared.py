"""Conversions whose source or target another process writes to, and targets with files of an earlier model."""

from __future__ import annotations

import sys

import pytest

from clip_core.hub.changes import ChangedError
from clip_core.hub.owning import owned
from converters.checkpoint import open_checkpoint
from converters.conversion import convert
from converters.sidecars.files import all_files
from support import changes
from support.checkpoints import OPENAI_STEPS, content, openai_config, save_as, save_checkpoint
from support.configs import tiny_config
from support.messages import naming

FILES = {"torch": "pytorch_model.bin", "tf": "tf_model.h5", "flax": "flax_model.msgpack"}
CHANGES = {
    "weights grow": ("model.safetensors", changes.grow),
    "weights shrink": ("model.safetensors", changes.shrink),
    "weights are written again": ("model.safetensors", changes.write_again),
    "weights are replaced": ("model.safetensors", changes.replace),
    "configuration is written again": ("config.json", changes.write_again),
    "configuration is removed": ("config.json", lambda path: path.unlink()),
    "tokenizer appears": ("vocab.json", lambda path: path.write_text("{}")),
}


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_a_source_that_changes_meanwhile_is_refused(tmp_path, monkeypatch, change, there):
    name, make = CHANGES[change]
    source, target = tmp_path / "source", tmp_path / "parent" / "target"
    save_checkpoint(source, tiny_config())
    if there:
        save_checkpoint(target, tiny_config(projection_dim=8))
    before = content(tmp_path / "parent")
    changes.when_reading_the_third_tensor(monkeypatch, lambda: make(source / name))
    with pytest.raises(ChangedError, match=naming(source / name)):
        convert(source, target, "flax", overwrite=True)
    assert content(tmp_path / "parent") == before
    assert (tmp_path / "parent").exists() == there


@pytest.mark.parametrize("name", FILES)
def test_so_is_one_in_another_format(tmp_path, monkeypatch, name):
    save_as(tmp_path, name, tiny_config())
    path = tmp_path / name / FILES[name]
    changes.when_reading_the_third_tensor(monkeypatch, lambda: changes.write_again(path))
    with pytest.raises(ChangedError, match=naming(path)):
        convert(tmp_path / name, tmp_path / "target", "safetensors")
    assert not (tmp_path / "target").exists()


def test_a_checkpoint_whose_index_changes_while_its_shards_are_opened_is_refused(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, tiny_config(), max_shard_size="50KB")
    index = tmp_path / "model.safetensors.index.json"
    read = sys.modules[open_checkpoint.__module__]._entries

    def changing(path, format_):
        if "00002" in path.name:
            changes.write_again(index)
        return read(path, format_)

    monkeypatch.setattr("converters.checkpoint._entries", changing)
    with pytest.raises(ChangedError, match=naming(index)):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("there", [True, False])
def test_a_target_that_another_process_writes_to_is_refused(tmp_path, there):
    save_checkpoint(tmp_path / "source", tiny_config())
    if there:
        save_checkpoint(tmp_path / "target", tiny_config(projection_dim=8))
    before = content(tmp_path / "target") if there else {}
    words = naming(tmp_path / "target", "a training run")
    with owned(tmp_path / "target", "a training run"), pytest.raises(BlockingIOError, match=words):
        convert(tmp_path / "source", tmp_path / "target", "safetensors", overwrite=True)
    assert (content(tmp_path / "target") if there else {}) == before
    convert(tmp_path / "source", tmp_path / "target", "safetensors", overwrite=True)
    assert not list(tmp_path.rglob(".saving-*"))


def add_companions(folder):
    """Write files of an earlier model, of each name."""
    folder.mkdir(exist_ok=True)
    for name in all_files():
        path = folder / (f"{name}short.jinja" if name.endswith("/") else name)
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    (folder / "README.md").write_text("mine")


@pytest.mark.parametrize("to", ["safetensors", "open_clip", "openai"])
def test_no_file_of_an_earlier_model_stays_behind(tmp_path, to):
    save_checkpoint(tmp_path / "source", openai_config(), steps=OPENAI_STEPS)
    convert(tmp_path / "source", tmp_path / "fresh", to)
    add_companions(tmp_path / "target")
    convert(tmp_path / "source", tmp_path / "target", to, overwrite=True)
    assert (tmp_path / "target" / "README.md").read_text() == "mine"
    (tmp_path / "target" / "README.md").unlink()
    assert content(tmp_path / "target") == content(tmp_path / "fresh")
    assert not (tmp_path / "target" / "additional_chat_templates").exists()


def test_what_also_describes_weights_in_another_format_stays(tmp_path):
    save_checkpoint(tmp_path / "source", openai_config(), steps=OPENAI_STEPS)
    convert(tmp_path / "source", tmp_path / "target", "flax")
    before = content(tmp_path / "target")
    convert(tmp_path / "source", tmp_path / "target", "openai", overwrite=True)
    assert {name: content(tmp_path / "target")[name] for name in before} == before
