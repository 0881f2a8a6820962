"""Messages about what was typed: each names the option, and shows the value as it was given."""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
from cyclopts import App

from clip_core.cli import main
from clip_core.commands.options import images_of
from clip_core.commands.wording import Options, in_options
from clip_core.modeling.inputs import check_pixel_shape
from support.messages import mentions, naming, refused_line
from support.search import save_image
from support.training_data import picture_bytes


def _spoken(line):
    """Return the arguments of Python, as name=value or a name with an underscore, outside quotes, in a line."""
    return re.findall(r"(?<![\w/'.-])[a-z]+(?:_[a-z]+)*=|(?<![\w/'.-])[a-z]+_column\b", line)


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--epochs", 0, ["--epochs 0", 1]),
        ("--accum", 0, ["--accum 0", 1]),
        ("--max-grad-norm", -1, ["--max-grad-norm -1", 0]),
        ("--max-grad-norm", "nan", ["--max-grad-norm nan", 0]),
    ],
)
def test_a_number_is_refused_with_the_numbers_allowed(run, model, data, tmp_path, option, value, named):
    line = refused_line(run, "train", "--data", data, "--model", model, "--checkpoint-dir", tmp_path, option, value)
    assert mentions(line, *named), line
    assert not mentions(line, "above"), line
    assert len(re.findall(r"--[a-z]", line)) == 1
    assert _spoken(line) == []


@pytest.fixture
def uncaptioned(tmp_path):
    folder = tmp_path / "uncaptioned"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture_bytes(0))
    return folder


def test_a_hint_names_an_option_of_the_command_or_is_left_out(run, model, uncaptioned, tmp_path):
    train = refused_line(run, "train", "--data", uncaptioned, "--model", model, "--checkpoint-dir", tmp_path / "run")
    retrieval = refused_line(run, "evaluate", "retrieval", "--data", uncaptioned, "--model", model)
    for line in (train, retrieval):
        assert mentions(line, f"--data {uncaptioned}", "a.png"), line
        assert _spoken(line) == []
    assert mentions(train, "--unpaired skip")
    assert not mentions(retrieval, "unpaired"), retrieval
    assert not mentions(retrieval, "pass"), retrieval


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("image,text\na.png,a cat\n")
    return path


def test_a_missing_column_is_told_with_the_options_of_the_command(run, model, table, tmp_path):
    train = refused_line(run, "train", "--data", table, "--model", model, "--checkpoint-dir", tmp_path / "run")
    assert mentions(train, f"--data {table}", "'file_name'", "'image'"), train
    assert not mentions(train, "Pass"), train
    task = ("evaluate", "zero-shot", "--model", model, "--data", table, "--label-column", "text")
    default = refused_line(run, *task)
    assert mentions(default, f"--data {table}", "'file_name'", "--image-column"), default
    given = refused_line(run, *task, "--image-column", "foo")
    assert mentions(given, "--image-column foo"), given
    assert not mentions(given, "--label-column"), given
    for line in (train, default, given):
        assert _spoken(line) == []


@pytest.mark.parametrize(("task", "option"), [("retrieval", "--caption-column"), ("probe", "--label-column")])
def test_the_column_of_texts_has_the_name_of_the_option(run, model, data, task, option):
    line = refused_line(run, "evaluate", task, "--data", data, "--model", model, option, "foo")
    assert mentions(line, f"{option} foo", "'text'"), line
    assert _spoken(line) == []


@pytest.mark.parametrize("value", ["abacus", "mps", "cuda:77"])
def test_a_device_of_torch_is_named_by_the_option(run, model, data, value):
    given = ("classify", data / "0.png", "--model", model, "--labels", "cat", "ox", "--backend", "torch")
    line = refused_line(run, *given, "--device", value)
    assert line.startswith(f"--device {value} "), line
    assert _spoken(line) == []


@pytest.mark.parametrize("values", ["torch nope", "torch,tf", ",", "torch", "reference reference"])
def test_a_list_of_backends_is_shown_as_typed(run, model, values):
    line = refused_line(run, "verify", model, "--backend", *values.split())
    assert line.startswith(f"--backend {values}"), line
    assert mentions(line, "reference", "flax")


def test_an_empty_value_is_named_by_the_option(run, model, data, tmp_path):
    given = ("classify", data / "0.png", "--model", model, "--labels", "cat", "ox")
    line = refused_line(run, *given, "--template", "{}", "")
    assert line.startswith("--template ''"), line
    (tmp_path / "none.txt").write_text("")
    labels = ("--labels-file", tmp_path / "none.txt")
    for task in ("probe", "zero-shot"):
        line = refused_line(run, "evaluate", task, "--data", data, "--model", model, *labels)
        assert mentions(line, " ".join(map(str, labels))), line


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.txt", ""), ("a.txt", "\n \n\t\n"), ("a.json", "[]"), ("a.json", "{}"), ("a.json", '["cat", " "]')],
)
def test_a_labels_file_without_a_label_is_named(run, model, data, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    evaluate = [("evaluate", task, "--data", data, "--model", model) for task in ("probe", "zero-shot")]
    for command in (("classify", data / "0.png", "--model", model, "--labels", "ox"), *evaluate):
        line = refused_line(run, *command, "--labels-file", tmp_path / name)
        assert line.startswith(f"--labels-file {tmp_path / name}: "), line


def test_a_folder_for_a_labels_file_is_named(run, model, data, tmp_path):
    line = refused_line(run, "classify", data / "0.png", "--model", model, "--labels-file", tmp_path)
    assert line.startswith(f"--labels-file {tmp_path}: "), line
    assert mentions(line, "folder"), line


def test_a_shard_size_that_cannot_be(run, model, tmp_path):
    convert = ("convert", model, tmp_path / "out", "--to")
    line = refused_line(run, *convert, "openai", "--max-shard-size", "1GB")
    assert mentions(line, "--max-shard-size 1GB", "--to openai"), line
    assert _spoken(line) == []
    line = refused_line(run, *convert, "flax", "--max-shard-size", 1)
    assert mentions(line, "--max-shard-size 1", "'500MB'"), line
    assert not mentions(line, "bytes"), line


def test_weights_in_a_subfolder_are_told_by_their_path(run, model, tmp_path):
    nested = Path(shutil.copytree(model, tmp_path / "nest" / model.name))
    convert = ("convert", nested.parent, tmp_path / "out", "--to", "flax")
    for command in (("inspect", nested.parent), convert, ("diff", nested.parent, nested)):
        line = refused_line(run, *command)
        assert mentions(line, f"give {nested}"), line
        assert _spoken(line) == []


def test_a_part_of_what_was_typed_is_told_by_the_option(run, model, data, tmp_path):
    train = ("train", "--model", model, "--checkpoint-dir", tmp_path / "run", "--data")
    shards = tmp_path / "{000..002}.tar"
    line = refused_line(run, *train, shards)
    assert mentions(line, f"--data {shards}", str(tmp_path / "000.tar")), line
    (tmp_path / "000.tar").write_bytes(b"junk")
    assert mentions(refused_line(run, *train, tmp_path / "000.tar"), f"--data {tmp_path / '000.tar'}")
    alone = tmp_path / "alone" / "model.safetensors"
    alone.parent.mkdir()
    alone.write_bytes((model / "model.safetensors").read_bytes())
    line = refused_line(run, "classify", data / "0.png", "--model", alone, "--labels", "cat", "ox")
    assert mentions(line, f"--model {alone}", "preprocessor_config.json"), line
    (alone.parent / "preprocessor_config.json").write_text("[")
    line = refused_line(run, "classify", data / "0.png", "--model", alone.parent, "--labels", "cat", "ox")
    assert mentions(line, f"--model {alone.parent}", "preprocessor_config.json"), line


def test_a_path_given_to_two_options_is_told_by_both(run, model, data):
    given = ("evaluate", "zero-shot", "--model", model, "--data", data, "--templates-file", data)
    assert mentions(refused_line(run, *given), "--data", "--templates-file", str(data))


def test_labels_at_fault_are_told_by_their_option(run, model, data, tmp_path):
    (tmp_path / "labels.txt").write_text("cat\n")
    for task in ("zero-shot", "probe"):
        given = ("evaluate", task, "--model", model, "--data", data, "--labels-file", tmp_path / "labels.txt")
        line = refused_line(run, *given)
        assert mentions(line, f"--labels-file {tmp_path / 'labels.txt'}", "'ox'"), line
        assert _spoken(line) == []
    classify = ("classify", data / "0.png", "--model", model, "--labels")
    assert mentions(refused_line(run, *classify, "cat", " "), "--labels")


def test_a_warning_names_the_option(monkeypatch):
    told = []

    def warn(*_, **__):
        text = "label_cache='cache' is full; cache/a.npz is not written"
        told.append(warnings.formatwarning(text, UserWarning, "file.py", 1))

    monkeypatch.setattr(App, "__call__", warn)
    monkeypatch.setattr(warnings, "formatwarning", None)
    with pytest.raises(SystemExit):
        main(["classify", "a.png", "--label-cache", "cache"])
    assert told == ["clip-zoo: --label-cache cache is full; cache/a.npz is not written\n"]


def test_arguments_are_told_apart_from_text_and_paths():
    options = Options({"image_column": "--image-column", "to": "--to"}, [("--data", "a.csv"), ("--json", "")])
    told = {
        "set image_column to 'image_column' in image_column.csv": (
            "set --image-column to 'image_column' in image_column.csv"
        ),
        "go to b=1, x/to='c'": "go to b=1, x/to='c'",
        "a.csv: no. Pass q=... to see v1.2 of it. Then go": "--data a.csv: no. Then go",
        "first, then pass token=... or run it": "first, then run it",
        "bad\nIf so, pass strict=False to go on, a=True to stay.": "bad",
        "'z' of 'a.csv'": "'z' of 'a.csv'",
        "'z' has no data 'a.csv'": "--data a.csv: 'z' has no data 'a.csv'",
    }
    assert {message: in_options(message, options) for message in told} == told


def test_images_that_do_not_fit_the_model_name_the_option_and_the_file_to_change():
    embeddings = SimpleNamespace(num_channels=3, image_size=64, patch_size=8)
    named = naming("--model clip/", "preprocessor_config.json", "size", "crop_size", 224, 64)
    with pytest.raises(ValueError, match=named) as raised, images_of("clip/"):
        check_pixel_shape((2, 3, 224, 224), embeddings, interpolate=False)
    assert not mentions(str(raised.value), "interpolate_pos_encoding")
    with images_of("clip/"):
        check_pixel_shape((2, 3, 64, 64), embeddings, interpolate=False)


@pytest.mark.parametrize(
    "command",
    [
        ("classify", "a.png", "--labels", "a"),
        ("embed", "a", "--out", "b"),
        ("evaluate", "retrieval", "--data", "a"),
        ("explain", "a.png", "a"),
        ("index", "a", "--out", "b"),
        ("search", "a", "a"),
        ("serve",),
    ],
)
def test_models_do_not_compute_in_float64(refused, command):
    refused(command, "--dtype", "float64")


@pytest.mark.parametrize("command", [("index", "a.png"), ("embed", "a.png")])
def test_a_name_that_is_too_long_is_shown_once_and_cut(run, model, command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(picture_bytes(1))
    code, _, err = run(*command, "--model", model, "--out", "n" * 300)
    assert (code, err.count("\n")) == (2, 1)
    assert mentions(err, "--out"), err
    assert err.count("n" * 80) == 1, err
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


NO_MODEL = ("--model", "./nowhere")
OUTPUTS = {
    "index": ("index", "photos", *NO_MODEL, "--out"),
    "embed": ("embed", "photos", *NO_MODEL, "--out"),
    "train": ("train", "--data", "photos", *NO_MODEL, "--checkpoint-dir"),
    "convert": ("convert", "./nowhere", "--to", "torch"),
    "classify": ("classify", "photos", "--labels", "a", *NO_MODEL, "--label-cache"),
    "explain": ("explain", "photos", "a cat", *NO_MODEL, "--output-dir"),
    "explain-page": ("explain", "photos", "a cat", *NO_MODEL, "--html"),
    "search": ("search", "nowhere", "a cat", "--html"),
    "verify": ("verify", "./nowhere", "--report"),
}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc, in which nobody can create a folder")
@pytest.mark.parametrize("command", OUTPUTS.values(), ids=OUTPUTS)
def test_where_nothing_can_be_created_the_option_is_named_before_a_model_is_loaded(run, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    save_image(tmp_path / "photos/a.png", (255, 0, 0))
    option = "DST" if command[0] == "convert" else command[-1]
    for target in ("/proc/new/target.html", "/proc/self/target.html"):
        line = refused_line(run, *command, target)
        assert line.startswith(f"{option} {target} "), line
        assert mentions(line, str(Path(target).parents[1 if "new" in target else 0]))
    assert [path.name for path in tmp_path.rglob("*")] == ["photos", "a.png"]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc, in which nobody can create a file")
def test_a_current_folder_that_cannot_be_written_is_refused_before_a_model_is_loaded(run, tmp_path, monkeypatch):
    save_image(tmp_path / "a.png", (255, 0, 0))
    monkeypatch.chdir("/proc")
    assert mentions(refused_line(run, "explain", tmp_path / "a.png", "a cat", *NO_MODEL), "--output-dir")
    assert not mentions(refused_line(run, "explain", tmp_path / "a.png", "a cat", *NO_MODEL, "--json"), "--output-dir")
