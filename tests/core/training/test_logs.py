"""Logs of a run: whole lines, in order, and none twice after an interruption."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from clip_core.training.logs import check_installed, open_log
from support.limits import largest_file
from support.messages import naming


def lines(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_resumed_run_drops_what_came_after_its_checkpoint(tmp_path):
    log = open_log("jsonl", tmp_path, resumed_at=0, settings={})
    for step in (1, 2, 3):
        log.write(step, {"loss": step / 2})
    log.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # as a killed process leaves it
    log = open_log("jsonl", tmp_path, resumed_at=2, settings={})
    log.write(3, {"loss": 9.0})
    log.close()
    assert lines(tmp_path) == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 1.0}, {"step": 3, "loss": 9.0}]


def test_a_new_run_starts_its_log_afresh(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n')
    open_log("jsonl", tmp_path, resumed_at=0, settings={}).close()
    assert lines(tmp_path) == []


def test_an_unknown_kind_is_told_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=naming("log='csv'", "jsonl", "tensorboard", "wandb")):
        open_log("csv", tmp_path, resumed_at=0, settings={})


@pytest.mark.parametrize(("kind", "package"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")])
def test_a_missing_package_is_named(tmp_path, monkeypatch, kind, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=naming(f"pip install {package}")):
        open_log(kind, tmp_path, resumed_at=0, settings={})
    with pytest.raises(ImportError, match=naming(f"pip install {package}")):
        check_installed(["jsonl", kind])


def test_a_line_that_finds_the_disk_full_is_an_error_that_names_the_file(tmp_path):
    log = open_log("jsonl", tmp_path, resumed_at=0, settings={})
    log.write(1, {"loss": 0.5})
    with largest_file(30), pytest.raises(OSError, match=naming("log.jsonl", "File too large")):
        log.write(2, {"loss": 0.25})
    log.close()
    log = open_log("jsonl", tmp_path, resumed_at=1, settings={})
    log.close()
    assert lines(tmp_path) == [{"step": 1, "loss": 0.5}]


def scalars(folder):
    """Return the values in a folder's event files as TensorFlow reads them, by step; the later of two for a step."""
    import tensorflow as tf

    found = {}
    for path in sorted(folder.iterdir()):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                found.setdefault(event.step, {})[value.tag] = value.simple_value
    return found


def test_tensorboard_has_the_numbers_of_each_step(tmp_path):
    pytest.importorskip("tensorboardX")
    log = open_log("tensorboard", tmp_path, resumed_at=0, settings={})
    for step in (1, 2, 3):
        log.write(step, {"loss": step / 2, "lr": 0.25})
    log.close()
    log = open_log("tensorboard", tmp_path, resumed_at=2, settings={})
    log.write(3, {"loss": 9.0, "lr": 0.25})
    log.close()
    expected = {1: 0.5, 2: 1.0, 3: 9.0}
    assert scalars(tmp_path / "tensorboard") == {step: {"loss": loss, "lr": 0.25} for step, loss in expected.items()}


class StandInRun:
    """A stand-in for the result of `wandb.init` that records its calls."""

    def __init__(self, **options):
        self.options, self.logged, self.is_over = options, [], False

    def log(self, data, step=None):
        self.logged.append((step, data))

    def finish(self):
        self.is_over = True


def test_wandb_has_the_numbers_of_each_step_and_finds_a_resumed_run_again(tmp_path, monkeypatch):
    runs = []
    module = SimpleNamespace(init=lambda **options: runs.append(StandInRun(**options)) or runs[-1])
    monkeypatch.setitem(sys.modules, "wandb", module)
    for folder, resumed_at in (("a/run", 0), ("a/run", 2), ("b/run", 0), ("a/run", 0)):
        log = open_log("wandb", tmp_path / folder, resumed_at=resumed_at, settings={"lr": 0.5})
        log.write(resumed_at + 1, {"loss": 0.5})
        log.close()
    first, resumed, other, anew = runs
    assert (first.logged, resumed.logged) == ([(1, {"loss": 0.5})], [(3, {"loss": 0.5})])
    assert all(run.is_over for run in runs)
    assert first.options | {"resume": "allow"} == resumed.options
    assert (first.options["name"], first.options["resume"], first.options["config"]) == ("run", None, {"lr": 0.5})
    assert first.options["dir"] == str(tmp_path / "a" / "run")
    # Folders of the same name are different runs, and so is a new run in the same folder.
    assert len({run.options["id"] for run in (first, other, anew)}) == 3
