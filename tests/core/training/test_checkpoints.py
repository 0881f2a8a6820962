"""Checkpoints of a run are complete or absent, and the last few are kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from clip_core.data import PairLoader
from clip_core.hub.files import new_folder
from clip_core.training.checkpoints import RunFolder, check_config, own_state, written
from converters.moments import read_moments, write_moments
from converters.tensors import TensorEntry
from support.configs import tiny_config
from support.limits import largest_file
from support.messages import naming
from support.training_data import assert_same, make_processor, picture, picture_bytes, taken

ROWS = [{"image": picture_bytes(number), "text": f"cat {number}"} for number in range(26)]


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return make_processor(tmp_path_factory.mktemp("vocabulary"))


def loaders(processor, count, rows=ROWS, batch_size=4):
    """Return the loaders of all processes, which take four pairs together."""
    share = batch_size // count
    return [
        PairLoader(rows, processor, batch_size=share, process_index=index, process_count=count)
        for index in range(count)
    ]


def stopped(processor, count, batches, rows=ROWS):
    """Return the state that a run of several processes wrote after some batches."""
    states = []
    for loader in loaders(processor, count, rows):
        taken(loader, batches)
        states.append(loader.state_dict())
    return written(states)


@pytest.mark.parametrize(("before", "now"), [(1, 2), (2, 1), (2, 2), (2, 4), (1, 1)])
@pytest.mark.parametrize("batches", [2, 6])  # in the middle of an epoch of six, and at its end
def test_any_number_of_processes_goes_on_with_the_same_batches(processor, before, now, batches):
    kept = stopped(processor, before, batches)
    assert isinstance(kept, dict) is (before == 1)
    (whole,) = loaders(processor, 1)
    taken(whole, batches)
    expected = taken(whole, 3)
    shares = []
    for loader in loaders(processor, now):
        loader.load_state_dict(own_state(kept, loader))
        shares.append(taken(loader, 3))
    together = [
        {
            "samples": [key for part in parts for key in part["samples"]],
            **{name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name != "samples"},
        }
        for parts in zip(*shares, strict=True)
    ]
    assert_same(together, expected)


def test_each_process_goes_on_behind_its_own_broken_samples_and_other_numbers_of_them_are_refused(processor):
    rows = [row if number % 9 else {"image": b"no picture", "text": "cat"} for number, row in enumerate(ROWS)]
    kept = stopped(processor, 2, 3, rows)
    assert len({state["taken"] for state in kept}) == 2
    for loader, uninterrupted in zip(loaders(processor, 2, rows), loaders(processor, 2, rows), strict=True):
        loader.load_state_dict(own_state(kept, loader))
        taken(uninterrupted, 3)
        assert_same(taken(loader, 2), taken(uninterrupted, 2))
    (one,) = loaders(processor, 1, rows)
    with pytest.raises(ValueError, match=naming(2, 1, "Parquet")):
        own_state(kept, one)


def test_a_stream_is_refused_to_other_numbers_of_processes(processor):
    class Stream:
        def __iter__(self):
            return iter([{"image": picture(number), "text": "cat"} for number in range(12)])

    (one,) = loaders(processor, 1, Stream())
    with pytest.raises(ValueError, match=naming(2, 1)):
        own_state(stopped(processor, 2, 1, Stream()), one)


def test_another_batch_size_is_left_for_the_loader_to_refuse(processor):
    kept = stopped(processor, 2, 2)
    (one,) = loaders(processor, 1, batch_size=6)
    with pytest.raises(ValueError, match=naming("batch_size=2", "batch_size=6")):
        one.load_state_dict(own_state(kept, one))


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

    with pytest.raises(OSError, match=naming("step-00000010", "no space left", 5)):
        run.write(10, {}, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000005"]


def save_moments(folder):
    values = np.arange(20_000, dtype=np.float32)
    write_moments(folder, {"exp_avg.logit_scale": TensorEntry(values.shape, values.dtype, lambda: values)})


def test_a_disk_that_is_full_in_the_middle_of_a_file_leaves_what_was(tmp_path):
    run = RunFolder(tmp_path / "run")
    with largest_file(10_000), pytest.raises(OSError, match=naming("step-00000005", "File too large")):
        run.write(5, {}, save_moments)
    assert list(run.root.iterdir()) == []
    run.write(5, {}, save_moments)
    with largest_file(10_000), pytest.raises(OSError, match=naming("step-00000010", "File too large", 5)):
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
    changed = ("text_config.eos_token_id", 97, 98, "vision_config.hidden_size", 36, 48)
    with pytest.raises(ValueError, match=naming(*changed)):
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
    with pytest.raises(ValueError, match=naming("trainer_state.json", 5)):
        run.latest()
    (folder / "trainer_state.json").write_text('{"step"')
    with pytest.raises(ValueError, match=naming("trainer_state.json", "JSON")):
        run.latest()


def test_a_new_folder_is_refused_where_there_is_one(tmp_path):
    with pytest.raises(FileExistsError, match=naming(tmp_path)), new_folder(tmp_path):
        pass


def test_a_second_run_in_the_folder_is_refused(tmp_path):
    first, second = RunFolder(tmp_path / "a" / "run"), RunFolder(tmp_path / "a" / "run")
    with first.owned(None):
        with pytest.raises(BlockingIOError, match=naming(first.root, os.getpid())), second.owned(None):
            pass
        first.write(3, {}, lambda _: None)
    with pytest.raises(ValueError, match=naming(first.root)), second.owned(None):  # it read the folder before
        pass
    with second.owned(second.latest()):
        pass
    assert [path.name for path in second.root.iterdir()] == ["step-00000003"]


def test_a_run_that_writes_nothing_leaves_no_folder(tmp_path):
    with RunFolder(tmp_path / "run").owned(None):
        assert (tmp_path / "run").is_dir()
    assert not (tmp_path / "run").exists()
