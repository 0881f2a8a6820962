"""Bad values of the commands' options: one line that names the option as typed, exit code 2, nothing written."""

from __future__ import annotations

import pytest

from clip_core.backends import load_backend
from clip_core.cli import app
from support.messages import mentions, refused_line

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
            line = refused_line(run, *words, "a", "b", *typed)
            assert line.startswith(f"{option} {value!r}"), line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--labels-file", "--model", "--backend", "--device", "--batch-size", "--template"])
def test_a_value_of_two_lines_is_told_in_one(run, model, data, option):
    given = {"--model": model, "--labels": "cat"}
    given.pop(option, None)
    line = refused_line(
        run, "classify", data / "0.png", *(word for pair in given.items() for word in pair), option, "a\nb"
    )
    assert option in line
    assert r"a\nb" in line


READING = {
    "classify": ["nowhere.png", "--labels", "cat"],
    "explain": ["nowhere.png", "a cat"],
    "index": ["nowhere", "--out", "made"],
    "embed": ["nowhere", "--out", "made"],
    "train": ["--data", "nowhere", "--model", "nowhere", "--checkpoint-dir", "made"],
    "evaluate zero-shot": ["--data", "nowhere"],
    "evaluate retrieval": ["--data", "nowhere"],
    "evaluate probe": ["--data", "nowhere"],
}


@pytest.mark.parametrize("command", READING)
def test_options_of_a_framework_are_checked_before_anything_is_read(run, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    for name in ("torch", "tf", "flax"):
        load_backend(name)
    run("formats")  # takes what a framework prints when it is imported
    wrong = [("torch", "--backend", "mxnet")]
    wrong += [(name, "--device", device) for name in ("torch", "tf", "flax") for device in ("abacus", "cuda:7")]
    wrong += [(name, "--parallel", "ddp") for name in ("tf", "flax") if command == "train"]
    for backend, option, value in wrong:
        given = {"--backend": backend, option: value}
        typed = [word for pair in given.items() for word in pair]
        line = refused_line(run, *command.split(), *READING[command], *typed)
        assert mentions(line, option, value)
        assert "nowhere" not in line
    assert list(tmp_path.iterdir()) == []


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


COMMANDS = [[name] for name in app if not name.startswith("-") and name != "evaluate"]
COMMANDS += [["evaluate", name] for name in TASKS]


def options_of_dtypes():
    for words in COMMANDS:
        known = app.parse_commands(words)[1][-1].assemble_argument_collection()
        required = [
            word for one in known if one.required for word in ([one.names[0]] if one.index is None else []) + ["1"]
        ]
        yield from ((*words, *required, one.names[0]) for one in known if one.names[0] in {"--dtype", "--precision"})


def test_every_command_takes_the_same_names_of_dtypes():
    found = {}
    for words in options_of_dtypes():
        for name in ("fp16", "float16", "bf16", "bfloat16", "fp32", "float32"):
            if words[-1] == "--precision" and "16" in name and "b" not in name:
                continue
            _, bound, _ = app.parse_args([*words, name], exit_on_error=False, print_error=False)
            given = bound.arguments.get("model_options", None)
            value = bound.arguments.get("dtype", bound.arguments.get("precision")) if given is None else given.dtype
            found.setdefault(words[-1], {}).setdefault(name, set()).add(value)
    long = {"fp16": {"float16"}, "bf16": {"bfloat16"}, "fp32": {"float32"}}
    short = {"bf16": {"bf16"}, "fp32": {"fp32"}, "bfloat16": {"bf16"}, "float32": {"fp32"}}
    assert found == {
        "--dtype": long | {name: {name} for name in ("float16", "bfloat16", "float32")},
        "--precision": short,
    }
    assert len(list(options_of_dtypes())) == 12


def test_every_command_refuses_a_dtype_in_the_same_words(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [refused_line(run, *words, "int3") for words in options_of_dtypes()]
    for words, line in zip(options_of_dtypes(), lines, strict=True):
        assert mentions(line, f"{words[-1]} int3", "float32", "bfloat16"), line
    assert len({line.partition(" int3 ")[2].partition("float32")[0] for line in lines}) == 1
    line = refused_line(run, "embed", "a", "--out", "b", "--embedding-dtype", "bf16")
    assert mentions(line, "--embedding-dtype bf16", "float32", "float16"), line
