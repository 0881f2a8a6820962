"""`clip-zoo train` reports bad input before a framework is loaded."""

from __future__ import annotations

import sys

import pytest

from clip_core.training.checkpoints import RunFolder
from support.configs import tiny_config
from support.messages import mentions
from support.training_data import make_processor, picture_bytes, write_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    make_processor(folder).save_pretrained(folder)
    tiny_config(vision={"num_channels": 3}).save_pretrained(folder)
    return folder


@pytest.fixture
def train(run, model, tmp_path, monkeypatch):
    """A function that runs the command on some data, and returns the exit code and stderr."""
    monkeypatch.setitem(sys.modules, "clip_torch.backend", None)  # nothing here gets as far

    def call(data, *more, config="config.json"):
        where = ("--data", data, "--model", model / config, "--checkpoint-dir", tmp_path / "run")
        code, _, told = run("train", *where, *more)
        assert not (tmp_path / "run" / "log.jsonl").exists()
        return code, told

    return call


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["a.png", "b.png", "b.txt"], "images without a caption: 1 (a.png)"),
        (["a.png", "a.txt", "c.txt", "d.txt"], "captions without an image: 2 (c.txt, d.txt)"),
        (["a.png", "b.txt"], "images without a caption: 1 (a.png); captions without an image: 1 (b.txt)"),
        ([], "data contains no image-caption pairs"),
    ],
)
def test_data_that_make_no_pairs_are_told(train, tmp_path, files, told):
    data = tmp_path / "data"
    data.mkdir()
    for name in files:
        (data / name).write_bytes(picture_bytes(0) if name.endswith(".png") else b"cat")
    code, error = train(data)
    assert code == 2
    assert told in error


def test_what_has_no_counterpart_is_left_out_if_so_asked(train, tmp_path):
    data = write_folder(tmp_path / "data", 2)
    (data / "alone.txt").write_text("cat")
    code, error = train(data, "--unpaired", "skip", "--batch-size", 2)
    assert code == 2
    assert "clip_torch" in error  # the data are as they should be, and the framework's turn comes


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--batch-size", "1"], ("--batch-size", 1, 2)),
        (["--batch-size", "6", "--accum", "4"], ("--accum", 4, "--batch-size", 6)),
        (["--parallel", "pipeline"], ("--parallel", "pipeline")),
    ],
)
def test_settings_that_cannot_be_right_are_told(train, tmp_path, options, told):
    code, error = train(write_folder(tmp_path / "data", 4), *options)
    assert code == 2
    assert mentions(error, *told)


def test_a_run_is_not_resumed_with_another_config(train, model, tmp_path):
    run = RunFolder(tmp_path / "run")
    run.write(2, {"settings": {}, "loader": {}}, tiny_config(vision={"num_channels": 3}).save_pretrained)
    tiny_config(vision={"num_channels": 3, "num_hidden_layers": 4}).to_json_file(model / "other.json")
    code, error = train(write_folder(tmp_path / "data", 4), "--resume", config="other.json")
    assert code == 2
    assert mentions(error, "step-00000002", "vision_config.num_hidden_layers", 2, 4)
    assert run.steps() == [2]
