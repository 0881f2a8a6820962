"""Bad values of the commands' options: one line that names the option as typed, exit code 2, nothing written."""

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
    save_checkpoint(folder, tiny_config(vision={"num_channels": 3}))
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


TRAIN = [
    ("--epochs", 0),
    ("--epochs", "two"),
    ("--lr", -1),
    ("--lr", "nan"),
    ("--warmup", -1),
    ("--weight-decay", -1),
    ("--accum", 0),
    ("--loss-chunk", 0),
    ("--max-grad-norm", -1),
    ("--workers", -1),
    ("--max-broken", -1),
    ("--save-every", 0),
    ("--keep", 0),
    ("--seed", -1),
    ("--crop", "centre"),
    ("--precision", "fp8"),
    ("--freeze", "both"),
    ("--unpaired", "keep"),
    ("--log", "paper"),
    ("--processor", "./nowhere"),
    ("--backend", "mxnet"),
    ("--device", "abacus"),
]


@pytest.mark.parametrize(("option", "value"), TRAIN)
def test_train(refused, model, data, tmp_path, option, value):
    given = {"--data": data, "--model": model / "config.json", "--checkpoint-dir": tmp_path / "run", "--batch-size": 2}
    refused(("train", *(word for pair in given.items() for word in pair)), option, value)


@pytest.mark.parametrize("option", ["--data", "--model"])
def test_train_without_its_sources(refused, model, data, tmp_path, option):
    given = {"--data": data, "--model": model / "config.json", "--checkpoint-dir": tmp_path / "run"}
    del given[option]
    refused(("train", *(word for pair in given.items() for word in pair)), option, "./nowhere")


RUNNING = [
    ("--model", "./nowhere"),
    ("--batch-size", 0),
    ("--workers", -1),
    ("--backend", "mxnet"),
    ("--device", "abacus"),
    ("--dtype", "int8"),
    ("--image-column", "nothing"),
]
RETRIEVAL = [*RUNNING, ("--caption-column", "nothing"), ("--data", "./nowhere")]
LABELLED = [("--labels-file", "./nowhere.txt"), ("--label-column", "nothing"), ("--data", "./nowhere")]
PROBE = [*RUNNING, *LABELLED, ("--test-data", "./nowhere"), ("--test-share", 0), ("--test-share", 1.5), ("--seed", -1)]
ZERO_SHOT = [
    *RUNNING,
    *LABELLED,
    ("--template-set", "cifar"),
    ("--templates-file", "./nowhere.txt"),
    ("--template", "no place"),
]
TASKS = {"retrieval": RETRIEVAL, "probe": PROBE, "zero-shot": ZERO_SHOT}


@pytest.mark.parametrize(
    ("task", "option", "value"), [(task, *case) for task, cases in TASKS.items() for case in cases]
)
def test_evaluate(refused, model, data, task, option, value):
    given = {"--data": data, "--model": model, "--workers": 0}
    given.pop(option, None)
    refused(("evaluate", task, *(word for pair in given.items() for word in pair)), option, value)


def test_a_label_cache_in_the_way_of_a_file(refused, model, data, tmp_path_factory):
    file = tmp_path_factory.mktemp("cache") / "file"
    file.write_text("")
    given = ("classify", data / "0.png", "--model", model, "--labels", "cat", "ox")
    for place in (file, file / "inside"):
        refused(given, "--label-cache", place)
    assert file.read_text() == ""


def test_a_report_in_the_way_of_a_folder(refused, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    refused(("verify", model), "--report", folder)
    assert list(folder.iterdir()) == []
