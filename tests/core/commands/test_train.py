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
    tiny_config({"vocab_size": 600}, {"num_channels": 3}).save_pretrained(folder)
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
        (["a.png", "b.png", "b.txt"], ["images", "1 (a.png)"]),
        (["a.png", "a.txt", "c.txt", "d.txt"], ["captions", "2 (c.txt, d.txt)"]),
        (["a.png", "b.txt"], ["images", "1 (a.png)", "captions", "1 (b.txt)"]),
        ([], ["data", "image-caption"]),
    ],
)
def test_data_that_make_no_pairs_are_told(train, tmp_path, files, told):
    data = tmp_path / "data"
    data.mkdir()
    for name in files:
        (data / name).write_bytes(picture_bytes(0) if name.endswith(".png") else b"cat")
    code, error = train(data)
    assert code == 2
    assert mentions(error, *told)


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
    run.write(2, {"settings": {}, "loader": {}}, tiny_config({"vocab_size": 600}, {"num_channels": 3}).save_pretrained)
    tiny_config({"vocab_size": 600}, {"num_channels": 3, "num_hidden_layers": 4}).to_json_file(model / "other.json")
    code, error = train(write_folder(tmp_path / "data", 4), "--resume", config="other.json")
    assert code == 2
    assert mentions(error, "step-00000002", "vision_config.num_hidden_layers", 2, 4)
    assert run.steps() == [2]


BAD_VALUES = {
    "--accum": ["0", "-1", "x", "1.5"],
    "--backend": ["mxnet", "reference"],
    "--batch-size": ["0", "-4", "x", "1.5", "nan", "1e3"],
    "--crop": ["x"],
    "--epochs": ["0", "-1", "x", "nan", "1.5"],
    "--freeze": ["both"],
    "--keep": ["0", "-1", "x"],
    "--log": ["x"],
    "--loss-chunk": ["0", "-1", "x", "1.5"],
    "--lr": ["0", "-1", "nan", "inf", "x", "1e400"],
    "--max-broken": ["-1", "x", "1.5"],
    "--max-grad-norm": ["-1", "nan", "x", "-inf"],
    "--parallel": ["odd"],
    "--precision": ["fp16"],
    "--processor": ["/nowhere", "here"],
    "--save-every": ["0", "-1", "x", "1.5"],
    "--seed": ["-1", "x", "1.5"],
    "--unpaired": ["x"],
    "--warmup": ["-1", "nan", "inf", "x"],
    "--weight-decay": ["-1", "nan", "inf", "x"],
    "--workers": ["-1", "x", "1000000", "1.5"],
}


def test_every_bad_value_is_one_line_that_names_its_option(train, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    data = write_folder(tmp_path / "data", 4)
    for option, values in BAD_VALUES.items():
        for value in values:
            code, error = train(data, option, value)
            assert (code, error.count("\n")) == (2, 1), (option, value)
            assert mentions(error, "clip-zoo", option), (option, value)


def test_a_processor_that_no_file_beside_the_configuration_states_is_asked_for(train, model, tmp_path):
    (tmp_path / "alone").mkdir()
    config = tiny_config({"vocab_size": 600}, {"num_channels": 3})
    config.save_pretrained(tmp_path / "alone")
    code, error = train(write_folder(tmp_path / "data", 4), config=tmp_path / "alone" / "config.json")
    assert (code, error.count("\n")) == (2, 1)
    assert mentions(error, "--model", tmp_path / "alone", "preprocessor_config.json", "--processor")


def test_a_source_that_is_a_file_without_an_ending_is_named_by_its_option(train, tmp_path):
    (tmp_path / "file").write_text("x")
    code, error = train(write_folder(tmp_path / "data", 4), config=tmp_path / "file")
    assert (code, error.count("\n")) == (2, 1)
    assert mentions(error, "--model", tmp_path / "file", "config.json")


@pytest.mark.parametrize("option", ["--model", "--processor"])
def test_an_image_processor_of_another_model_is_told(run, tmp_path, option):
    processor = make_processor(tmp_path)
    processor.image_processor.crop_size = {"height": 12, "width": 12}
    wrong = tmp_path / "wrong"
    processor.save_pretrained(wrong)
    tiny_config({"vocab_size": 600}, {"num_channels": 3}).save_pretrained(wrong)
    sources = {"--model": wrong / "config.json", option: wrong / "config.json" if option == "--model" else wrong}
    options = [word for pair in sources.items() for word in pair]
    options += ["--data", write_folder(tmp_path / "data", 4), "--checkpoint-dir", tmp_path / "run"]
    code, _, error = run("train", *options, "--batch-size", 2, "--workers", 0, "--backend", "torch")
    assert code == 2
    assert mentions(error, f"{option} {wrong}", "image processor", "12 x 12", "preprocessor_config.json")


def test_the_help_lists_every_name_of_a_precision_or_none(run):
    code, out, _ = run("train", "--help")
    text = " ".join(out.replace("│", " ").split())
    assert code == 0
    assert mentions(text, "--precision", "float32", "bfloat16", "fp32", "bf16")
    assert "[choices: fp32, bf16]" not in text
    assert "[choices: text, vision, none]" in text
