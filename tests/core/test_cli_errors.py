"""Bad input of the command line: one line that names what was typed, and exit code 2."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.messages import mentions


def one_line(err):
    assert err.count("\n") == 1, err
    assert err.startswith("clip-zoo: ")
    return err


def test_missing_labels_are_told(run, cat, model):
    code, _, err = run("classify", cat, "--model", model)
    assert code == 2
    assert mentions(one_line(err), "--labels", "--labels-file")
    code, _, err = run("classify", cat, "--labels", "cat", " ", "--model", model)
    assert code == 2
    assert mentions(one_line(err), "labels")


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("gone.txt", None, ["gone.txt"]),
        ("empty.txt", "\n \n", ["labels"]),
        ("broken.json", "{", ["broken.json", "JSON"]),
        ("numbers.json", "[1, 2]", ["numbers.json", "JSON"]),
        ("latin.txt", b"K\xe4fer", ["latin.txt", "UTF-8"]),
    ],
)
def test_a_bad_labels_file_is_told(run, cat, tmp_path, name, content, named):
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    code, _, err = run("classify", cat, "--labels-file", tmp_path / name)
    assert code == 2
    assert mentions(one_line(err), *named)


def test_an_unknown_model_is_told_what_to_do(run, cat, tmp_path):
    code, _, err = run("classify", cat, "--labels", "cat", "--model", tmp_path / "gone")
    assert code == 2
    assert mentions(one_line(err), tmp_path / "gone")
    code, _, err = run("classify", cat, "--labels", "cat", "--model", "")
    assert code == 2
    assert mentions(one_line(err), "--model")
    code, _, err = run("classify", cat, "--labels", "cat", "--model", "nobody/nothing")
    assert code == 2
    assert mentions(one_line(err), "nobody/nothing")


def test_a_foreign_architecture_is_named(run, cat, model, tmp_path):
    for name in ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
        shutil.copy(model / name, tmp_path / name)
    (tmp_path / "config.json").write_text('{"model_type": "siglip"}')
    code, _, err = run("classify", cat, "--labels", "cat", "--model", tmp_path)
    assert code == 2
    assert "SigLIP" in one_line(err)


def test_without_a_picture_no_model_is_loaded(run, tmp_path):
    code, out, err = run("classify", tmp_path / "gone.png", "--labels", "cat", "--model", tmp_path / "no-model")
    assert (code, out) == (2, "")
    assert mentions(one_line(err), tmp_path / "gone.png")


def test_a_label_that_is_too_long_is_told_in_one_line(run, cat, model):
    code, _, err = run("classify", cat, "--labels", "cat", "dog " * 100, "--model", model)
    assert code == 2
    assert mentions(one_line(err), 102, 77)


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--backend", "mxnet", ["--backend mxnet", "torch"]),
        ("--device", "gpu9", ["--device", "gpu9"]),
        ("--device", "cuda:99", ["--device", "cuda:99"]),
        ("--dtype", "int8", ["--dtype", "int8", "float32"]),
        ("--template", "a photo", ["--template a photo", "{}"]),
        ("--batch-size", "0", ["--batch-size", 0, 1]),
        ("--top-k", "-1", ["--top-k", -1, 1]),
        ("--batch-size", "many", ["--batch-size", "many"]),
    ],
)
def test_bad_options_are_told(run, cat, model, option, value, named):
    code, _, err = run("classify", cat, "--labels", "cat", "--model", model, option, value)
    assert code == 2
    assert mentions(one_line(err), *named)


def test_an_unknown_command_and_a_missing_picture_exit_with_2(run):
    for arguments in (["clasify"], ["classify", "--labels", "cat"], ["classify", "x.png", "--label", "cat"]):
        code, _, err = run(*arguments)
        assert code == 2
        one_line(err)


def test_what_was_typed_does_not_control_the_terminal(run):
    for arguments in (("inspect", "a\x1b[2Jb"), ("diff", "a\u202eb", "c"), ("classify", "a\x07b", "--labels", "c")):
        code, _, err = run(*arguments)
        assert code == 2
        assert err.removesuffix("\n").isprintable(), arguments


def test_help_and_version(run):
    code, out, _ = run("--help")
    assert code == 0
    assert "classify" in out
    code, out, _ = run("classify", "--help")
    assert code == 0
    assert "--labels-file" in out
    assert 'clip-zoo classify cat.jpg --labels "a cat" "a dog"' in out
    code, out, _ = run("--version")
    assert code == 0


CHECKPOINT = Path(__file__).parents[2] / "examples" / "shapes" / "checkpoint"
PICTURES = CHECKPOINT.parent / "pictures"
CLASSIFY = ("classify", PICTURES / "a-green-cross.png", "--labels", "a", "b", "--model", CHECKPOINT)
EVALUATE = ("evaluate", "zero-shot", "--data", PICTURES, "--model", CHECKPOINT)


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        (("convert", CHECKPOINT, "out"), "--to", "odd"),
        *((("convert", CHECKPOINT, "out", "--to", "torch"), *pair) for pair in (
            ("--dtype", "odd"), ("--max-shard-size", "odd"), ("--subfolder", "odd"),
        )),
        (("convert", "no/model", "out", "--to", "torch"), "--revision", "odd"),
        (("inspect", CHECKPOINT), "--subfolder", "odd"),
        (("inspect", "no/model"), "--revision", "odd"),
        (("verify", CHECKPOINT), "--backend", "odd"),
        (("verify", CHECKPOINT), "--dtype", "odd"),
        (("verify", CHECKPOINT), "--against", "odd"),
        *((CLASSIFY, option, "odd") for option in (
            "--backend", "--device", "--dtype", "--model", "--labels-file", "--batch-size", "--top-k", "--template",
        )),
        *((EVALUATE, option, "odd") for option in (
            "--data", "--batch-size", "--workers", "--template", "--templates-file", "--template-set",
            "--labels-file",
        )),
        *((("train", "--data", PICTURES, "--model", CHECKPOINT, "--checkpoint-dir", "out"), *pair) for pair in (
            ("--data", "odd"), ("--model", "odd"), ("--precision", "odd"), ("--freeze", "odd"), ("--lr", "-1.0"),
            ("--parallel", "odd"), ("--epochs", "0"), ("--crop", "odd"), ("--warmup", "-1.0"), ("--accum", "0"),
        )),
    ],
)  # fmt: skip
def test_a_bad_value_is_reported_by_the_option_that_was_typed(run, tmp_path, monkeypatch, command, option, value):
    monkeypatch.chdir(tmp_path)
    words = list(command)
    if option in words:
        place = words.index(option)
        del words[place : place + 2]
    code, out, err = run(*words, option, value)
    assert (code, out) == (2, "")
    assert option in err
    assert value in err
    assert f"{option.removeprefix('--').replace('-', '_')}=" not in err


def test_an_option_is_blamed_only_for_its_own_value():
    from clip_core.cli import _naming_the_option

    typed = ["classify", "--labels", "a", "--dtype", "odd", "--model=gone"]
    assert _naming_the_option("dtype='odd' is not a dtype", typed) == "--dtype odd is not a dtype"
    assert _naming_the_option("'gone' is neither a folder", typed) == "--model gone is neither a folder"
    assert _naming_the_option("there is a fault", typed) == "there is a fault"


@pytest.mark.parametrize(
    "command", [("convert", "MODEL", "out", "--to", "openai"), (*CLASSIFY[:-1], "MODEL", "--backend", "torch")]
)
def test_a_checkpoint_that_contradicts_its_configuration_is_told_in_one_line(run, tmp_path, monkeypatch, command):
    shutil.copytree(CHECKPOINT, tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    known = json.loads((CHECKPOINT / "config.json").read_text())
    for field, value in {"hidden_size": 192, "max_position_embeddings": 12, "num_hidden_layers": 9}.items():
        content = known | {"text_config": known["text_config"] | {field: value}}
        (tmp_path / "model" / "config.json").write_text(json.dumps(content))
        code, out, err = run(*(tmp_path / "model" if word == "MODEL" else word for word in command))
        assert (code, out) == (2, "")
        found = known["text_config"][field]
        assert mentions(one_line(err), tmp_path / "model", f"text_config.{field}", value, found)
        assert mentions(err, "more") is (field != "max_position_embeddings")  # of the tensors
        assert len(err.replace(str(tmp_path), "")) < 600, err
        assert "  " not in err


@pytest.mark.parametrize("error", ["ValueError", "OSError", "ImportError"])
def test_a_library_that_fails_to_import_is_not_called_bad_input(tmp_path, error):
    (tmp_path / "h5py.py").write_text(f"raise {error}('numpy.dtype size changed')")
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"}
    command = [sys.executable, "-m", "clip_core.cli", "convert", CHECKPOINT, tmp_path / "out", "--to", "tf"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=root)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert mentions(one_line(ran.stderr), "h5py", "numpy.dtype size changed")
