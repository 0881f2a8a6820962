"""Opening a checkpoint: the choice of a file, shards, and errors for damaged ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from converters.checkpoint import CheckpointError, open_checkpoint, with_variant
from converters.conversion import convert
from support.checkpoints import ALL_FORMATS, openai_config, save_checkpoint
from support.messages import naming


def tensors(value=1.0):
    return {"logit_scale": np.full((), value, np.float32), "text_projection.weight": np.full((2, 3), value, np.float32)}


def save_bin(weights, path):
    torch.save({name: torch.from_numpy(array) for name, array in weights.items()}, path)


def test_safetensors_are_preferred_and_bin_can_be_asked_for(tmp_path):
    save_file(tensors(1), tmp_path / "model.safetensors")
    save_bin(tensors(2), tmp_path / "pytorch_model.bin")
    assert open_checkpoint(tmp_path)["logit_scale"] == 1
    assert open_checkpoint(tmp_path, use_safetensors=True)["logit_scale"] == 1
    assert open_checkpoint(tmp_path, use_safetensors=False)["logit_scale"] == 2


def test_shapes_and_dtypes_are_known_before_reading(tmp_path):
    save_file(tensors(), tmp_path / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.shape("text_projection.weight") == (2, 3)
    assert checkpoint.dtype("text_projection.weight") == np.float32
    assert len(checkpoint) == 2


@pytest.mark.parametrize("to", ALL_FORMATS)
def test_a_tensor_of_every_format_is_the_same_mapped_and_read(tmp_path, to):
    save_checkpoint(tmp_path / "source", openai_config())
    convert(tmp_path / "source", tmp_path / to, to)
    entries = open_checkpoint(tmp_path / to).entries
    for name, entry in entries.items():
        mapped, read = entry.load(), entry.own()
        assert (read.shape, read.dtype) == (entry.shape, entry.dtype)
        assert np.array_equal(read, mapped), name
        assert not np.shares_memory(read, mapped)


@pytest.mark.parametrize("ending", [".safetensors", ".bin", ".pt"])
def test_a_single_file_of_any_name_is_opened_by_its_ending(tmp_path, ending):
    path = tmp_path / f"epoch-3{ending}"
    (save_file if ending == ".safetensors" else save_bin)(tensors(3), path)
    assert open_checkpoint(path)["logit_scale"] == 3


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
@pytest.mark.parametrize("variant", [None, "fp16"])
def test_shards_are_read_as_one(tmp_path, kind, variant):
    single = "model.safetensors" if kind == "safetensors" else "pytorch_model.bin"
    weight_map = {}
    for number, (name, array) in enumerate(tensors(4).items()):
        shard = f"part-{number}.{kind}"
        (save_file if kind == "safetensors" else save_bin)({name: array}, tmp_path / shard)
        weight_map[name] = shard
    index = with_variant(f"{single}.index.json", variant)
    (tmp_path / index).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    checkpoint = open_checkpoint(tmp_path, variant=variant)
    assert checkpoint.keys() == tensors().keys()
    assert np.array_equal(checkpoint["text_projection.weight"], tensors(4)["text_projection.weight"])


def test_names_of_variants():
    assert with_variant("model.safetensors", None) == "model.safetensors"
    assert with_variant("model.safetensors", "fp16") == "model.fp16.safetensors"
    assert with_variant("model.safetensors.index.json", "fp16") == "model.safetensors.index.fp16.json"


def test_a_subfolder_is_looked_in(tmp_path):
    (tmp_path / "text_encoder").mkdir()
    save_file(tensors(5), tmp_path / "text_encoder" / "model.safetensors")
    assert open_checkpoint(tmp_path, subfolder="text_encoder")["logit_scale"] == 5


def test_the_error_for_a_folder_without_weights_names_the_expected_files(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=naming("model.safetensors", "pytorch_model.bin", "config.json")):
        open_checkpoint(tmp_path)


def index_of(tmp_path, weight_map):
    save_file(tensors(), tmp_path / "part.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(weight_map))


@pytest.mark.parametrize(
    ("index", "named"),
    [
        ({"weight_map": {"logit_scale": "gone.safetensors"}}, ["gone.safetensors"]),
        ({"weight_map": {"absent": "part.safetensors"}}, ["absent", "part.safetensors"]),
        ({"metadata": {}}, ["weight_map"]),
        ([1], ["weight_map"]),
        ({"weight_map": "part.safetensors"}, ["weight_map"]),
        ({"weight_map": {"logit_scale": 3}}, ["weight_map"]),
        ({"weight_map": {"logit_scale": ["part.safetensors"]}}, ["weight_map"]),
    ],
)
def test_an_index_that_does_not_hold_is_refused(tmp_path, index, named):
    index_of(tmp_path, index)
    with pytest.raises(CheckpointError, match=naming(*named)):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "..\\secret.safetensors"])
def test_an_index_cannot_lead_out_of_its_folder(tmp_path, name):
    index_of(tmp_path, {"weight_map": {"logit_scale": name}})
    with pytest.raises(ValueError, match=naming(repr(name))):
        open_checkpoint(tmp_path)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"version https://git-lfs.example/spec/v1")
    with pytest.raises(CheckpointError, match=naming(tmp_path / "model.safetensors", "safetensors")):
        open_checkpoint(tmp_path)


def test_a_file_of_another_kind_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(CheckpointError, match=naming(tmp_path / "notes.txt", ".safetensors", ".bin")):
        open_checkpoint(tmp_path / "notes.txt")
