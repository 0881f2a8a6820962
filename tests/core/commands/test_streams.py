"""A reader that has gone changes no exit code, and a full disk is never taken for drift."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.table import Table

from clip_core.cli import app, main
from clip_core.commands import streams
from support.checkpoints import save_checkpoint, with_values
from support.configs import tiny_config
from support.training_data import make_processor, write_folder

ROOT = Path(__file__).parents[3]
HELP = ["-m", "clip_core.cli", "--help"]
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model with its processor, one of other values, captioned images, and labelled ones."""
    folder = tmp_path_factory.mktemp("commands")
    for name in ("model", "other"):
        processor = make_processor(folder, tiny_config().vision_config.image_size)
        text = {"vocab_size": len(processor.tokenizer), "eos_token_id": processor.tokenizer.eos_token_id}
        save_checkpoint(folder / name, tiny_config(text, {"num_channels": 3}))
        processor.save_pretrained(folder / name)
    with_values(folder / "other", logit_scale=np.array(1.0, np.float32))
    write_folder(folder / "pairs", 4)
    for label in ("cat", "dog"):
        write_folder(folder / "labelled" / label, 4)
    (folder / "pairs" / "broken.png").write_bytes(b"no image")
    return folder


CODES = {
    "formats": (["formats"], 0),
    "inspect": (["inspect", "model"], 0),
    "convert": (["convert", "model", "flax", "--to", "flax", "--overwrite"], 0),
    "diff, the same": (["diff", "model", "model"], 0),
    "diff, different": (["diff", "model", "other"], 1),
    "verify, agreeing": (["verify", "model", "--against", "model", "--backend", "reference"], 0),
    "verify, drifting": (["verify", "model", "--against", "other", "--backend", "reference", "--all"], 1),
    "verify, impossible": (["verify", "gone"], 2),
    "classify": (["classify", "pairs/000.png", "--labels", "cat", "dog", "--model", "model"], 0),
    "classify, a line each": (["classify", "labelled", "--labels", "a", "b", "--model", "model", "--json"], 0),
    "classify, a broken image": (["classify", "pairs", "--labels", "cat", "--model", "model", "--json"], 2),
    "evaluate zero-shot": (["evaluate", "zero-shot", "--data", "labelled", "--model", "model", "--workers", "0"], 0),
    "evaluate retrieval": (
        ["evaluate", "retrieval", "--data", "labelled/cat", "--model", "model", "--workers", "0"], 0,
    ),
    "evaluate probe": (["evaluate", "probe", "--data", "labelled", "--model", "model", "--workers", "0"], 0),
    "train": (
        [
            "train", "--data", "labelled/cat", "--model", "model", "--checkpoint-dir", "run", "--batch-size", "2",
            "--workers", "0", "--crop", "none",
        ],
        0,
    ),
    "explain": (["explain", "pairs/000.png", "cat", "--model", "model", "--json"], 0),
    "index": (["index", "labelled/cat", "--out", "cats", "--model", "model", "--json"], 0),
    "embed": (["embed", "labelled/cat", "--out", "embedded", "--model", "model", "--json"], 0),
    "search": (["search", "cats", "cat", "--json"], 0),
    "duplicates": (["duplicates", "cats", "--json"], 0),
    "serve": (["serve", "--model", "gone"], 2),
    "help": (["--help"], 0),
    "help of a command": (["convert", "--help"], 0),
    "version": (["--version"], 0),
    "unknown": (["unknown"], 2),
}  # fmt: skip


def ended(arguments):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return end.value.code


@pytest.mark.parametrize("name", CODES)
def test_a_closed_pipe_leaves_every_command_its_exit_code(folder, monkeypatch, capsys, tmp_path, name):
    arguments, code = CODES[name]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(folder)
    if name == "train":
        arguments = [str(tmp_path) if word == "run" else word for word in arguments]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert ended(arguments) == code
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert "pipe" not in err


def test_every_command_is_tried():
    commands = {name for name in app if not name.startswith("-")}
    assert commands == {arguments[0] for arguments, _ in CODES.values()} - {"--help", "--version", "unknown"}


@needs_full
@pytest.mark.parametrize("name", ["formats", "diff, the same", "diff, different", "verify, drifting", "help"])
def test_a_full_disk_is_told_and_is_no_verdict(folder, monkeypatch, capsys, name):
    monkeypatch.chdir(folder)
    with FULL.open("w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert ended(CODES[name][0]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith("clip-zoo: ")
    assert os.strerror(28) in err


def test_a_closed_pipe_ends_a_long_classification_early(folder, monkeypatch):
    from clip_core.tasks import images

    monkeypatch.chdir(folder)
    calls = []
    encode = images.encode_image_batches
    monkeypatch.setattr(
        images, "encode_image_batches", lambda *given, **named: calls.append(1) or encode(*given, **named)
    )
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert ended([*CODES["classify, a line each"][0], "--batch-size", "2"]) == 0
    assert len(calls) == 1


PROGRAMS = {
    "module": HELP,
    "installed command": None,
    "benchmarks": ["benchmarks/run.py", "--help"],
    "benchmarks on a GPU": ["benchmarks/gpu.py", "--help"],
    "demo": ["examples/demo.py", "--help"],
    "card": ["examples/shapes/card.py", "--help"],
    "generate": ["examples/shapes/generate.py", "--help"],
    "prepare": ["examples/emoji/prepare.py", "--help"],
    "lengthen": ["examples/emoji/lengthen.py", "--help"],
}


def command(name):
    arguments = PROGRAMS[name]
    return [sys.executable, *arguments] if arguments else [str(Path(sys.executable).with_name("clip-zoo")), "--help"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_whose_reader_has_gone_ends_without_a_complaint(name):
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run(command(name), stdout=writer, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (0, "")


SHELL = [
    ('"$@" | head -1', 0, 1),
    ('"$@" 2>&1 | true', 0, 0),
    ('"$@" >&-', 0, 0),
    ('"$@" >&- 2>&- <&-', 0, 0),
    pytest.param('"$@" > /dev/full', 2, 0, marks=needs_full),
    pytest.param('"$@" > /dev/full 2>&1', 2, 0, marks=needs_full),
]


@pytest.mark.skipif(sys.platform == "win32", reason="these are lines for a POSIX shell")
@pytest.mark.parametrize(("line", "code", "lines"), SHELL)
def test_redirections_of_a_shell(line, code, lines):
    line = f"set -o pipefail; {line}"
    ran = subprocess.run(
        ["bash", "-c", line, "bash", *command("module")], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (ran.returncode, len(ran.stdout.splitlines())) == (code, lines)
    if "full" in line:
        assert ran.stderr.count("\n") == ("2>&1" not in line)
    else:
        assert ran.stderr == ""


def test_files_are_not_written_in_place_of_closed_streams(folder, tmp_path):
    arguments = [sys.executable, "-m", "clip_core.cli", "convert", "model", str(tmp_path / "out"), "--to", "torch"]
    closed = ["bash", "-c", '"$@" >&- 2>&-', "bash", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(closed, check=False, cwd=folder, env=environment).returncode == 0
    assert ended(["diff", str(folder / "model"), str(tmp_path / "out")]) == 0


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("a cat\tin Straße 東京\n", "a cat\tin Straße 東京\n"),
        ("\x1b[1;32mgreen\x1b[0m", "\x1b[1;32mgreen\x1b[0m"),
        ("\r 50%|#####\x1b[A", "\r 50%|#####\x1b[A"),
        ("\x1b[2J", "\\u001b[2J"),
        ("\x1b]0;owned\x07", "\\u001b]0;owned\\u0007"),
        ("\x9b2J", "\\u009b2J"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\udcff", "\\udcff"),
    ],
)
def test_control_characters_of_names_are_escaped(monkeypatch, printed, shown):
    output, errors = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "stderr", errors)

    def program():
        sys.stdout.write(printed)
        sys.stderr.write(printed)

    streams.run_program(program, "test")
    assert (output.getvalue(), errors.getvalue()) == (shown, shown)


def test_an_escape_in_json_is_the_same_text():
    text = "\x1b[2J \u202e \x9b \ud800"
    assert json.loads(streams.harmless(json.dumps(text, ensure_ascii=False))) == text


@pytest.mark.parametrize("is_terminal", [True, False])
def test_tables_are_wrapped_in_a_terminal_alone(monkeypatch, is_terminal):
    output = io.StringIO()
    output.isatty = lambda: is_terminal
    monkeypatch.setattr(sys, "stdout", output)
    for name, value in {"COLUMNS": "40", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    table = Table("image", "score", show_header=False)
    table.add_row("a/" * 100, "0.5")
    streams.console().print(table)
    assert ("a/" * 100 in output.getvalue()) is not is_terminal
    assert (max(map(len, output.getvalue().splitlines())) <= 40) is is_terminal
