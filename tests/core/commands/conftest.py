"""A model and data for commands, and a check of those that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.checkpoints import save_checkpoint
from support.configs import tiny_config
from support.messages import mentions
from support.training_data import make_processor, picture_bytes


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_checkpoint(folder, tiny_config(text={"vocab_size": 600}, vision={"num_channels": 3}))
    make_processor(folder, 30).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A table of images with captions and labels."""
    folder = tmp_path_factory.mktemp("data")
    rows = [f"{number}.png,cat {number},{'cat' if number % 2 else 'ox'}" for number in range(8)]
    (folder / "metadata.csv").write_text("\n".join(["file_name,text,label", *rows]))
    for number in range(8):
        (folder / f"{number}.png").write_bytes(picture_bytes(number))
    return folder


@pytest.fixture
def refused(run, tmp_path):
    """A function that runs a command which is refused, and checks that its line names `option` and its value."""

    def check(command, option, value):
        code, out, err = run(*command, option, value)
        assert (code, out) == (2, ""), err
        assert err.count("\n") == 1, err
        assert err.startswith("clip-zoo: ")
        assert mentions(err, option), err
        assert str(Path(str(value))) in err
        assert list(tmp_path.iterdir()) == []

    return check
