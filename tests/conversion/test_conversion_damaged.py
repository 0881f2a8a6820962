"""Damaged sources: one clear error that names file and key, and nothing written."""

from __future__ import annotations

import json

import numpy as np
import pytest

from converters.checkpoint import CheckpointError
from converters.conversion import convert
from support.checkpoints import ALL_FORMATS, openai_config, save_as, save_checkpoint, with_values
from support.configs import tiny_config
from support.messages import naming


@pytest.mark.parametrize("fmt", ALL_FORMATS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_a_truncated_source_is_refused_by_name(tmp_path, fmt, share):
    save_as(tmp_path, fmt, openai_config())
    path = next(path for path in (tmp_path / fmt).iterdir() if path.stat().st_size > 10**5)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(CheckpointError, match=naming(path)) as caught:
        convert(tmp_path / fmt, tmp_path / "target", "safetensors" if fmt == "flax" else "flax")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "target").exists()


MISLABELLED = [
    pytest.param(really, called, id=f"{really} called {called}")
    for really in ("safetensors", "torch", "tf", "flax")
    for called in ("safetensors", "torch", "tf", "flax")
    if really != called
]


@pytest.mark.parametrize(("really", "called"), MISLABELLED)
def test_a_file_under_the_name_of_another_format_is_refused_by_name(tmp_path, really, called):
    files = {"safetensors": "model.safetensors", "torch": "pytorch_model.bin"}
    files |= {"tf": "tf_model.h5", "flax": "flax_model.msgpack"}
    save_as(tmp_path, really, tiny_config())
    (tmp_path / really / files[really]).rename(tmp_path / really / files[called])
    with pytest.raises(CheckpointError, match=naming(files[called], called)):
        convert(tmp_path / really, tmp_path / "target", "flax")
    assert not (tmp_path / "target").exists()


def test_weights_of_another_shape_than_the_config_says_are_refused_by_name(tmp_path):
    save_checkpoint(tmp_path / "source", tiny_config())
    with_values(tmp_path / "source", visual_projection__weight=np.zeros((24, 35), np.float32))
    misfit = naming(tmp_path / "source", "CLIPModel", "visual_projection.weight", (24, 35), (24, 36))
    with pytest.raises(CheckpointError, match=misfit) as caught:
        convert(tmp_path / "source", tmp_path / "target", "flax")
    assert "strict=False" not in str(caught.value)  # advice for those who load a model


def test_weights_that_are_missing_are_refused_by_name(tmp_path):
    save_checkpoint(tmp_path / "source", tiny_config(), max_shard_size="50KB")
    index = tmp_path / "source" / "model.safetensors.index.json"
    written = json.loads(index.read_text())
    del written["weight_map"]["logit_scale"]
    index.write_text(json.dumps(written))
    with pytest.raises(CheckpointError, match=naming(1, "logit_scale")):
        convert(tmp_path / "source", tmp_path / "target", "flax")


def test_an_index_that_names_absent_shards_is_refused_by_name(tmp_path):
    save_checkpoint(tmp_path / "source", tiny_config(), max_shard_size="50KB")
    shard = next((tmp_path / "source").glob("model-00002-*"))
    shard.unlink()
    with pytest.raises(CheckpointError, match=naming("model.safetensors.index.json", shard.name)):
        convert(tmp_path / "source", tmp_path / "target", "flax")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize(
    ("gone", "there"),
    [("config.json", "model.safetensors"), ("model.safetensors", "config.json")],
)
def test_a_folder_that_lacks_half_is_refused_with_what_it_lacks(tmp_path, gone, there):
    save_checkpoint(tmp_path / "source", tiny_config())
    (tmp_path / "source" / gone).unlink()
    with pytest.raises(FileNotFoundError, match=naming(tmp_path / "source", gone, there)):
        convert(tmp_path / "source", tmp_path / "target", "flax")
