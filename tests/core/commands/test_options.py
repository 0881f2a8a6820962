"""Bad values of the commands' options: one line that names the option as typed, exit code 2, nothing written."""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
from cyclopts import App

from clip_core.cli import app, main
from clip_core.commands.options import images_of
from clip_core.commands.wording import Options, in_options
from clip_core.modeling.inputs import check_pixel_shape
from support.checkpoints import save_checkpoint
from support.configs import tiny_config
from support.messages import mentions, naming
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


TRAIN = [
    ("--epochs", 0),
    ("--epochs", "two"),
    ("--lr", -1),
    ("--lr", "nan"),
    ("--lr", "inf"),
    ("--warmup", -1),
    ("--warmup", "inf"),
    ("--weight-decay", -1),
    ("--weight-decay", "inf"),
    ("--accum", 0),
    ("--loss-chunk", 0),
    ("--max-grad-norm", -1),
    ("--workers", -1),
    ("--workers", 4_000_000_000),
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
    ("--workers", 4_000_000_000),
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


def test_a_checkpoint_folder_in_the_way_of_a_file(refused, model, data, tmp_path_factory):
    file = tmp_path_factory.mktemp("checkpoints") / "file"
    file.write_text("")
    for place in (file, file / "inside"):
        refused(("train", "--data", data, "--model", model / "config.json"), "--checkpoint-dir", place)
    assert file.read_text() == ""


def options_with_values():
    for words in WORDS:
        known = app.parse_commands(words)[1][-1].assemble_argument_collection()
        named = [argument for argument in known if argument.names[0].startswith("--") and argument.token_count()[0]]
        yield from ((words, argument.names[0]) for argument in named)


@pytest.mark.parametrize("value", ["", " \t"])
def test_an_empty_value_of_any_option_is_refused(run, tmp_path, monkeypatch, value):
    monkeypatch.chdir(tmp_path)
    for words, option in options_with_values():
        for typed in ([option, value], [f"{option}={value}"]):
            line = _line(run, *words, "a", "b", *typed)
            assert line.startswith(f"{option} {value!r}"), line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--labels-file", "--model", "--backend", "--device", "--batch-size", "--template"])
def test_a_value_of_two_lines_is_told_in_one(run, model, data, option):
    given = {"--model": model, "--labels": "cat"}
    given.pop(option, None)
    line = _line(run, "classify", data / "0.png", *(word for pair in given.items() for word in pair), option, "a\nb")
    assert option in line
    assert r"a\nb" in line


WORDS = (["classify"], ["train"], *(["evaluate", task] for task in TASKS), ["convert"], ["inspect"], ["verify"])


def integer_options():
    for words in WORDS:
        known = app.parse_commands(words)[1][-1].assemble_argument_collection()
        yield from ((words, argument.names[0]) for argument in known if argument.hint in {int, int | None})


def test_integer_options_are_found():
    assert {("train", "--loss-chunk"), ("classify", "--top-k")} < {
        (words[0], name) for words, name in integer_options()
    }


@pytest.mark.parametrize("value", [1.5, 2.0, "nan", "1e3", "one", "9" * 30])
@pytest.mark.parametrize(("words", "option"), list(integer_options()), ids="".join)
def test_an_integer_option_takes_integers_only(refused, model, data, tmp_path, words, option, value):
    given = {"--data": data, "--model": model}
    given |= {"--checkpoint-dir": tmp_path / "run"} if words == ["train"] else {}
    labels = (data / "0.png", "--labels", "cat", "ox")
    classify = ("classify", *labels, "--model", model)
    refused(
        classify if words == ["classify"] else (*words, *(word for pair in given.items() for word in pair)),
        option,
        value,
    )


@pytest.mark.parametrize("value", ["0x2", "1_0"])
def test_an_integer_may_be_written_as_in_python(run, model, data, value):
    given = ("classify", data / "0.png", "--labels", "cat", "ox", "--model", model, "--json")
    assert run(*given, "--batch-size", value)[0] == 0


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


def _line(run, *command):
    """Run a command that is refused, and return its line without the program's name."""
    code, out, err = run(*command)
    assert (code, out) == (2, ""), err
    assert err.count("\n") == 1, err
    assert len(err) < 1000, err
    return err.removeprefix("clip-zoo: ").rstrip("\n")


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
    line = _line(run, "train", "--data", data, "--model", model, "--checkpoint-dir", tmp_path, option, value)
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
    train = _line(run, "train", "--data", uncaptioned, "--model", model, "--checkpoint-dir", tmp_path / "run")
    retrieval = _line(run, "evaluate", "retrieval", "--data", uncaptioned, "--model", model)
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
    train = _line(run, "train", "--data", table, "--model", model, "--checkpoint-dir", tmp_path / "run")
    assert mentions(train, f"--data {table}", "'file_name'", "'image'"), train
    assert not mentions(train, "Pass"), train
    task = ("evaluate", "zero-shot", "--model", model, "--data", table, "--label-column", "text")
    default = _line(run, *task)
    assert mentions(default, f"--data {table}", "'file_name'", "--image-column"), default
    given = _line(run, *task, "--image-column", "foo")
    assert mentions(given, "--image-column foo"), given
    assert not mentions(given, "--label-column"), given
    for line in (train, default, given):
        assert _spoken(line) == []


@pytest.mark.parametrize(("task", "option"), [("retrieval", "--caption-column"), ("probe", "--label-column")])
def test_the_column_of_texts_has_the_name_of_the_option(run, model, data, task, option):
    line = _line(run, "evaluate", task, "--data", data, "--model", model, option, "foo")
    assert mentions(line, f"{option} foo", "'text'"), line
    assert _spoken(line) == []


@pytest.mark.parametrize("value", ["abacus", "mps", "cuda:77"])
def test_a_device_of_torch_is_named_by_the_option(run, model, data, value):
    given = ("classify", data / "0.png", "--model", model, "--labels", "cat", "ox", "--backend", "torch")
    line = _line(run, *given, "--device", value)
    assert line.startswith(f"--device {value} "), line
    assert _spoken(line) == []


@pytest.mark.parametrize("values", ["torch nope", "torch,tf", ",", "torch", "reference reference"])
def test_a_list_of_backends_is_shown_as_typed(run, model, values):
    line = _line(run, "verify", model, "--backend", *values.split())
    assert line.startswith(f"--backend {values}"), line
    assert mentions(line, "reference", "flax")


def test_an_empty_value_is_named_by_the_option(run, model, data, tmp_path):
    given = ("classify", data / "0.png", "--model", model, "--labels", "cat", "ox")
    line = _line(run, *given, "--template", "{}", "")
    assert line.startswith("--template ''"), line
    (tmp_path / "none.txt").write_text("")
    labels = ("--labels-file", tmp_path / "none.txt")
    for task in ("probe", "zero-shot"):
        line = _line(run, "evaluate", task, "--data", data, "--model", model, *labels)
        assert mentions(line, " ".join(map(str, labels))), line


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.txt", ""), ("a.txt", "\n \n\t\n"), ("a.json", "[]"), ("a.json", "{}"), ("a.json", '["cat", " "]')],
)
def test_a_labels_file_without_a_label_is_named(run, model, data, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    evaluate = [("evaluate", task, "--data", data, "--model", model) for task in ("probe", "zero-shot")]
    for command in (("classify", data / "0.png", "--model", model, "--labels", "ox"), *evaluate):
        line = _line(run, *command, "--labels-file", tmp_path / name)
        assert line.startswith(f"--labels-file {tmp_path / name}: "), line


def test_a_folder_for_a_labels_file_is_named(run, model, data, tmp_path):
    line = _line(run, "classify", data / "0.png", "--model", model, "--labels-file", tmp_path)
    assert line.startswith(f"--labels-file {tmp_path}: "), line
    assert mentions(line, "folder"), line


def test_a_shard_size_that_cannot_be(run, model, tmp_path):
    convert = ("convert", model, tmp_path / "out", "--to")
    line = _line(run, *convert, "openai", "--max-shard-size", "1GB")
    assert mentions(line, "--max-shard-size 1GB", "--to openai"), line
    assert _spoken(line) == []
    line = _line(run, *convert, "flax", "--max-shard-size", 1)
    assert mentions(line, "--max-shard-size 1", "'500MB'"), line
    assert not mentions(line, "bytes"), line


def test_weights_in_a_subfolder_are_told_by_their_path(run, model, tmp_path):
    nested = Path(shutil.copytree(model, tmp_path / "nest" / model.name))
    convert = ("convert", nested.parent, tmp_path / "out", "--to", "flax")
    for command in (("inspect", nested.parent), convert, ("diff", nested.parent, nested)):
        line = _line(run, *command)
        assert mentions(line, f"give {nested}"), line
        assert _spoken(line) == []


def test_a_part_of_what_was_typed_is_told_by_the_option(run, model, data, tmp_path):
    train = ("train", "--model", model, "--checkpoint-dir", tmp_path / "run", "--data")
    shards = tmp_path / "{000..002}.tar"
    line = _line(run, *train, shards)
    assert mentions(line, f"--data {shards}", str(tmp_path / "000.tar")), line
    (tmp_path / "000.tar").write_bytes(b"junk")
    assert mentions(_line(run, *train, tmp_path / "000.tar"), f"--data {tmp_path / '000.tar'}")
    alone = tmp_path / "alone" / "model.safetensors"
    alone.parent.mkdir()
    alone.write_bytes((model / "model.safetensors").read_bytes())
    line = _line(run, "classify", data / "0.png", "--model", alone, "--labels", "cat", "ox")
    assert mentions(line, f"--model {alone}", "preprocessor_config.json"), line
    (alone.parent / "preprocessor_config.json").write_text("[")
    line = _line(run, "classify", data / "0.png", "--model", alone.parent, "--labels", "cat", "ox")
    assert mentions(line, f"--model {alone.parent}", "preprocessor_config.json"), line


def test_a_path_given_to_two_options_is_told_by_both(run, model, data):
    given = ("evaluate", "zero-shot", "--model", model, "--data", data, "--templates-file", data)
    assert mentions(_line(run, *given), "--data", "--templates-file", str(data))


def test_labels_at_fault_are_told_by_their_option(run, model, data, tmp_path):
    (tmp_path / "labels.txt").write_text("cat\n")
    for task in ("zero-shot", "probe"):
        given = ("evaluate", task, "--model", model, "--data", data, "--labels-file", tmp_path / "labels.txt")
        line = _line(run, *given)
        assert mentions(line, f"--labels-file {tmp_path / 'labels.txt'}", "'ox'"), line
        assert _spoken(line) == []
    classify = ("classify", data / "0.png", "--model", model, "--labels")
    assert mentions(_line(run, *classify, "cat", " "), "--labels")


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
