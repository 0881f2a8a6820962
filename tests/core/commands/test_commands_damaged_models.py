"""Damaged model folders: a command that meets one prints one line that names the file or option; exit code 2."""

from __future__ import annotations

import json
import shutil

import pytest

from support.checkpoints import save_checkpoint
from support.configs import tiny_config
from support.messages import mentions
from support.training_data import picture_bytes

TENSORFLOW = ("WARNING: All log messages", "I0000")  # its start-up, which an environment variable silences


@pytest.fixture
def model(model, tmp_path):
    """A copy of the model, to damage."""
    return shutil.copytree(model, tmp_path / "model")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for number in range(4):
        (folder / f"{number}.png").write_bytes(picture_bytes(number))
        (folder / f"{number}.txt").write_text(f"cat {number}")
    return folder


@pytest.fixture
def refused(run, model, data, tmp_path):
    """A function that runs commands on the damaged model, and returns their lines."""
    commands = {
        "classify": ("classify", data / "0.png", "--model", model, "--labels", "cat", "ox"),
        "evaluate": ("evaluate", "retrieval", "--data", data, "--model", model, "--workers", 0),
        "inspect": ("inspect", model),
        "train": ("train", "--data", data, "--model", model, "--checkpoint-dir", tmp_path / "run", "--workers", 0,
                  "--batch-size", 2),
    }  # fmt: skip

    def check(*names, more=()):
        lines = []
        for name in names:
            code, out, err = run(*commands[name], *more)
            assert (code, out) == (2, ""), (name, err)
            own = [line for line in err.splitlines() if not line.startswith(TENSORFLOW)]
            assert len(own) == 1, err
            lines += own
        return lines

    return check


def edit(path, **entries):
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("bos_token", 3),
        ("eos_token", {"a": 1}),
        ("pad_token", [1]),
        ("additional_special_tokens", 5),
        ("additional_special_tokens", ["<a>", 5]),
        ("model_max_length", "long"),
        ("added_tokens_decoder", 3),
        ("added_tokens_decoder", {"1": 2}),
    ],
)
def test_a_setting_of_the_tokenizer_of_another_type(refused, model, entry, value):
    edit(model / "tokenizer_config.json", **{entry: value})
    for line in refused("classify", "train"):
        assert mentions(line, "tokenizer_config.json", entry), line


@pytest.mark.parametrize("content", [{"model": 3}, {"model": {"vocab": {"a": 1}}, "added_tokens": [3]}])
def test_a_tokenizer_file_of_another_structure(refused, model, content):
    (model / "tokenizer.json").write_text(json.dumps(content))
    for line in refused("inspect", "classify"):
        assert str(model) in line


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("resample", 99),
        ("image_mean", "grey"),
        ("image_mean", [0.5, 0.5]),
        ("rescale_factor", {}),
        ("image_std", [1, "x"]),
    ],
)
def test_a_setting_of_the_image_processor_that_spoils_every_image(refused, model, entry, value):
    edit(model / "preprocessor_config.json", **{entry: value})
    for line in refused("classify", "train"):
        assert mentions(line, entry), line


def test_a_tokenizer_without_padding(refused, model):
    edit(model / "tokenizer_config.json", pad_token=None)
    for line in refused("train"):
        assert mentions(line, "pad_token"), line


@pytest.mark.parametrize("chosen", ["torch", "tf", "flax"])
def test_a_tokenizer_with_a_larger_vocabulary_than_the_model(refused, model, chosen):
    save_checkpoint(model, tiny_config(text={"vocab_size": 99}, vision={"num_channels": 3}))
    for line in refused("classify", "evaluate", "train", more=("--backend", chosen)):
        assert mentions(line, f"--model {model}", "vocabulary"), line
        assert not mentions(line, "input_ids"), line
