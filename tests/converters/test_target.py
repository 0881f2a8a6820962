"""The folder that is converted into: replaced only when asked, and never half a checkpoint."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from converters import writing
from converters.checkpoint import CheckpointError, open_checkpoint
from converters.convert import convert
from support.checkpoints import OPENAI_STEPS, content, save_checkpoint, with_values
from support.configs import tiny_config
from support.entries import assert_same


def test_an_existing_target_is_replaced_only_when_asked(tmp_path):
    save_checkpoint(tmp_path / "source", tiny_config())
    save_checkpoint(tmp_path / "target", tiny_config(projection_dim=8), max_shard_size="50KB")
    before = content(tmp_path / "target")
    with pytest.raises(FileExistsError, match=r"target holds config\.json, model-00001-of-.*already; pass --overwrite"):
        convert(tmp_path / "source", tmp_path / "target", "safetensors")
    assert content(tmp_path / "target") == before
    convert(tmp_path / "source", tmp_path / "target", "safetensors", overwrite=True)
    assert sorted(content(tmp_path / "target")) == ["config.json", "model.safetensors"]
    assert open_checkpoint(tmp_path / "target").shape("text_projection.weight") == (24, 40)


def test_a_second_format_can_be_put_beside_the_first_and_is_told_of(tmp_path):
    arrays = save_checkpoint(tmp_path / "source", tiny_config())
    convert(tmp_path / "source", tmp_path / "target", "flax")
    result = convert(tmp_path / "source", tmp_path / "target", "tf")
    assert any("also holds flax_model.msgpack" in note for note in result.notes)
    assert_same(open_checkpoint(tmp_path / "target", format="tf"), arrays)
    assert_same(open_checkpoint(tmp_path / "target", format="flax"), arrays)


@pytest.mark.parametrize("by_file", [True, False])
def test_a_second_format_can_be_put_beside_its_own_source(tmp_path, by_file):
    """What stands beside the weights is theirs already and stays as it is, to the last space."""
    arrays = save_checkpoint(tmp_path, tiny_config(), steps=OPENAI_STEPS)
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_text((tmp_path / name).read_text() + "\n")
    before = content(tmp_path)
    convert(tmp_path / "model.safetensors" if by_file else tmp_path, tmp_path, "flax")
    assert content(tmp_path).keys() - before.keys() == {"flax_model.msgpack"}
    assert {name: content(tmp_path)[name] for name in before} == before
    assert_same(open_checkpoint(tmp_path, format="flax"), arrays)


def test_a_folder_can_be_converted_onto_itself(tmp_path):
    arrays = save_checkpoint(tmp_path, tiny_config(), max_shard_size="50KB")
    convert(tmp_path, tmp_path, "safetensors", dtype="float16", overwrite=True)
    assert_same(open_checkpoint(tmp_path), {name: array.astype(np.float16) for name, array in arrays.items()})


@pytest.mark.parametrize("target", ["file", "file/below"])
def test_a_target_that_cannot_be_a_folder_is_refused_by_name(tmp_path, target):
    save_checkpoint(tmp_path / "source", tiny_config())
    (tmp_path / "file").write_text("a file")
    with pytest.raises(OSError, match="file"):
        convert(tmp_path / "source", tmp_path / target, "flax")
    assert (tmp_path / "file").read_text() == "a file"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "source"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_full_disk_is_seen_before_anything_is_written(tmp_path, monkeypatch, exists):
    save_checkpoint(tmp_path / "source", tiny_config())
    if exists:
        shutil.copytree(tmp_path / "source", tmp_path / "target")
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**7 + 1000))
    before = content(tmp_path)
    with pytest.raises(OSError, match=r"target: the weights take \d+ MB, and only 10 MB are free there"):
        convert(tmp_path / "source", tmp_path / "target", "flax", overwrite=True)
    assert content(tmp_path) == before
    assert (tmp_path / "target").exists() == exists


@pytest.mark.parametrize("exists", [True, False])
def test_a_failure_in_the_middle_leaves_the_target_as_it_was(tmp_path, exists):
    """The last weight overflows when its turn comes, after the others are written."""
    save_checkpoint(tmp_path / "source", tiny_config())
    with_values(tmp_path / "source", visual_projection__weight=np.full((24, 36), 7e4, np.float32))
    if exists:
        save_checkpoint(tmp_path / "target", tiny_config(projection_dim=8), max_shard_size="50KB")
    before = content(tmp_path)
    options = {"dtype": "float16", "max_shard_size": "20KB", "overwrite": True}
    with pytest.raises(CheckpointError):
        convert(tmp_path / "source", tmp_path / "target", "safetensors", **options)
    assert content(tmp_path) == before
    assert (tmp_path / "target").exists() == exists


SLOW = """
import sys, time
from converters import writing
from converters.convert import convert

def slow(tensor, bar, usual=writing._watched, seen=[]):
    seen.append(tensor)
    if len(seen) == 40:
        print("in the middle", flush=True)
        time.sleep(60)
    return usual(tensor, bar)

writing._watched = slow
convert(*sys.argv[1:], max_shard_size="20KB", overwrite=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a process that can be killed outright")
@pytest.mark.parametrize("exists", [True, False])
def test_a_process_that_is_killed_in_the_middle_leaves_the_target_as_it_was(tmp_path, exists):
    save_checkpoint(tmp_path / "source", tiny_config())
    if exists:
        save_checkpoint(tmp_path / "target", tiny_config(projection_dim=8), max_shard_size="50KB")
    before = content(tmp_path / "target")
    command = [sys.executable, "-c", SLOW, str(tmp_path / "source"), str(tmp_path / "target"), "safetensors"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "in the middle\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    left = {name: text for name, text in content(tmp_path / "target").items() if not name.startswith(".")}
    assert left == before
    assert (tmp_path / "target").exists() == exists
    convert(tmp_path / "source", tmp_path / "target", "safetensors", overwrite=True)  # and what is left over is no bar
    assert open_checkpoint(tmp_path / "target").shape("text_projection.weight") == (24, 40)


def test_a_new_target_has_the_usual_permissions(tmp_path):
    save_checkpoint(tmp_path / "source", tiny_config())
    convert(tmp_path / "source", tmp_path / "target", "flax")
    (tmp_path / "usual").mkdir()
    assert (tmp_path / "target").stat().st_mode == (tmp_path / "usual").stat().st_mode
