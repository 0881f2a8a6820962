"""Checkpoints of a run are whole or not there, and the last few are kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from clip_core.files import new_folder
from clip_core.training.checkpoints import RunFolder, check_config
from converters.moments import read_moments, write_moments
from converters.tensors import TensorEntry
from support.configs import tiny_config
from support.limits import largest_file


def save(folder):
    (folder / "model.safetensors").write_text("weights")


def test_the_last_few_are_kept(tmp_path):
    run = RunFolder(tmp_path / "run", keep=2)
    assert run.latest() is None
    for step in (5, 10, 15):
        run.write(step, {"loader": {"epoch": 0}}, save)
    assert run.steps() == [10, 15]
    last = run.latest()
    assert (last.step, last.state) == (15, {"step": 15, "loader": {"epoch": 0}})
    assert (last.folder / "model.safetensors").read_text() == "weights"


def test_a_step_that_is_done_again_replaces_what_was(tmp_path):
    run = RunFolder(tmp_path)
    run.write(5, {"n": 1}, save)
    run.write(5, {"n": 2}, save)
    assert run.latest().state["n"] == 2


def test_a_save_that_fails_leaves_what_was(tmp_path):
    run = RunFolder(tmp_path)
    run.write(5, {}, save)

    def fail(folder):
        save(folder)
        raise OSError("no space left")

    with pytest.raises(
        OSError, match=r"step-00000010 could not be written \(no space left\); the last good checkpoint is"
    ):
        run.write(10, {}, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000005"]


def save_moments(folder):
    values = np.arange(20_000, dtype=np.float32)
    write_moments(folder, {"exp_avg.logit_scale": TensorEntry(values.shape, values.dtype, lambda: values)})


def test_a_disk_that_is_full_in_the_middle_of_a_file_leaves_what_was(tmp_path):
    run = RunFolder(tmp_path / "run")
    with largest_file(10_000), pytest.raises(OSError, match="there is no checkpoint yet"):
        run.write(5, {}, save_moments)
    assert list(run.root.iterdir()) == []
    run.write(5, {}, save_moments)
    told = r"step-00000010 could not be written \(File too large\); the last good checkpoint is that of step 5"
    with largest_file(10_000), pytest.raises(OSError, match=told):
        run.write(10, {}, save_moments)
    assert [path.name for path in run.root.iterdir()] == ["step-00000005"]
    assert len(read_moments(run.latest().folder)["exp_avg.logit_scale"]) == 20_000


def test_another_model_than_the_runs_is_told_by_every_field(tmp_path):
    config = tiny_config()
    config.dtype, config.architectures = "float32", ["CLIPModel"]  # as a checkpoint's says, and a fresh one's does not
    run = RunFolder(tmp_path)
    run.write(5, {}, config.save_pretrained)
    check_config(run.latest(), tiny_config())
    other = tiny_config({"eos_token_id": 98}, {"hidden_size": 48})
    told = r"text_config\.eos_token_id was 97 and is now 98, vision_config\.hidden_size was 36 and is now 48; give"
    with pytest.raises(ValueError, match=told):
        check_config(run.latest(), other)


KILLED = """
import sys, time
from clip_core.training.checkpoints import RunFolder
def save(folder):
    (folder / "model.safetensors").write_text("half")
    print("saving", flush=True)
    time.sleep(60)
RunFolder(sys.argv[1]).write(10, {}, save)
"""


def test_a_process_killed_while_it_saves_leaves_what_was_and_the_next_save_tidies_up(tmp_path):
    run = RunFolder(tmp_path)
    run.write(5, {}, save)
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE)
    with process:
        process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    assert run.steps() == [5]
    assert len(list(tmp_path.iterdir())) == 2
    run.write(10, {}, save)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000005", "step-00000010"]


def test_a_state_that_is_damaged_is_told(tmp_path):
    run = RunFolder(tmp_path)
    folder = run.write(5, {}, save)
    (folder / "trainer_state.json").write_text('{"step": 6}')
    with pytest.raises(ValueError, match="does not tell of step 5"):
        run.latest()
    (folder / "trainer_state.json").write_text('{"step"')
    with pytest.raises(ValueError, match=r"trainer_state\.json is not valid JSON"):
        run.latest()


def test_a_new_folder_is_refused_where_there_is_one(tmp_path):
    with pytest.raises(FileExistsError, match="is there already"), new_folder(tmp_path):
        pass
