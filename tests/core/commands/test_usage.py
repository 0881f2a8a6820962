"""Errors in the form of a command line: one line that starts with what was typed, and says what would be right."""

from __future__ import annotations

import logging

import cyclopts
import pytest

from support.messages import mentions, refused_line
from support.training_data import picture_bytes

TRAIN = ("train", "--data", "a", "--model", "b", "--checkpoint-dir", "c")
CONVERT = ("convert", "a", "b", "--to", "torch")


@pytest.mark.parametrize(
    ("typed", "start", "named"),
    [
        (("nope",), "nope ", ["clip-zoo --help"]),
        (("clasify", "cat.jpg"), "clasify ", ["classify"]),
        (("evaluate", "probes"), "probes ", ["probe"]),
        (("inspect", "a", "--bogus"), "--bogus ", ["clip-zoo inspect --help"]),
        (("inspect", "a", "--jsno"), "--jsno ", ["clip-zoo inspect", "--json"]),
        (("search", "i", "red", "--top-k", "1", "--top-k", "2"), "--top-k ", ["once"]),
        (("classify", "a", "--batch-size", "x"), "--batch-size x ", ["an integer"]),
        (("classify", "a", "--batch-size", "1.5"), "--batch-size 1.5 ", ["an integer"]),
        ((*TRAIN, "--lr", "x"), "--lr x ", ["a number"]),
        ((*TRAIN, "--lr", "0"), "--lr 0 ", ["above 0"]),
        ((*TRAIN, "--max-grad-norm", "-1"), "--max-grad-norm -1: ", []),
        ((*TRAIN, "--crop", "x"), "--crop x ", ["none", "random", "resized"]),
        ((*TRAIN, "--log", "jsonl", "x"), "--log x ", ["jsonl", "tensorboard", "wandb"]),
        ((*TRAIN, "--precision", "x"), "--precision x ", ["float32", "bfloat16"]),
        (("inspect", "a", "--hash=maybe"), "--hash maybe ", ["true"]),
        ((*CONVERT, "--max-shard-size", "-5MB"), "--max-shard-size ", ["--max-shard-size=-5MB"]),
        ((*CONVERT, "--max-shard-size"), "--max-shard-size ", ["clip-zoo convert --help"]),
        ((*TRAIN, "--log"), "--log ", ["clip-zoo train --help"]),
        (("embed", "a", "--out", "b", "--columns"), "--columns ", ["clip-zoo embed --help"]),
        (("evaluate", "probe", "--data", "--json"), "--data ", ["clip-zoo evaluate probe --help"]),
        (("--hlp",), "--hlp ", ["option", "--help"]),
        (("evaluate", "-x"), "-x ", ["option", "clip-zoo evaluate --help"]),
        (("inspect", "-x"), "-x ", ["option", "clip-zoo inspect --help"]),
        (("inspect", "a", "--to", "tf"), "--to ", ["clip-zoo inspect --help"]),
        (("convert", "a", "b", "--too", "torch"), "--too ", ["--to"]),
        (("convert", "a", "b", "-to", "torch"), "-to ", ["--to"]),
        (("convert", "a", "b", "--format=torch"), "--format ", ["clip-zoo convert --help"]),
        (("train", "--dat", "a", "--model", "b", "--checkpoint-dir", "c"), "--dat ", ["--data"]),
        (
            ("train", "--data", "a", "--model", "b", "--checkpoint_dirs", "c"),
            "--checkpoint_dirs ",
            ["--checkpoint-dir"],
        ),
        (("index", "a", "-o", "b"), "-o ", ["clip-zoo index --help"]),
        (("embed", "a", "--output", "b"), "--output ", ["--out"]),
        (("evaluate", "probe", "--dta", "a"), "--dta ", ["--data"]),
        (("inspect", "--no-hsh"), "--no-hsh ", ["--no-hash"]),
        (("train", "--checkpoint_dir", "c", "--lr", "-1"), "--data ", []),
        (("convert", "a", "b", "--", "--too"), "--to ", []),
        (("--versoin",), "--versoin ", ["--version"]),
        (("-h", "x"), "x ", ["clip-zoo --help"]),
        (("convert", "a", "", "--to", "torch"), "DST ''", []),
        (("search", "", "red"), "INDEX ''", []),
        (("diff", "a", " "), "B ' '", []),
        (("classify", "a.png", "", "--labels", "x"), "IMAGE ''", []),
    ],
)
def test_the_first_word_is_what_was_typed(run, typed, start, named):
    code, out, err = run(*typed)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith(f"clip-zoo: {start}"), err
    assert mentions(err, *named), err


@pytest.mark.parametrize(
    ("typed", "start", "named"),
    [
        (("convert", "a", "b.safetensors", "--to", "safetensors"), "DST b.safetensors ", ["weight"]),
        (("embed", "adl://a/b", "--out", "c"), "SOURCE adl://a/b: ", ["adlfs"]),
        (("embed", "a", "--out", "adl://a/b"), "--out adl://a/b: ", ["adlfs"]),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_read(run, tmp_path, monkeypatch, typed, start, named):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(picture_bytes(0))
    line = refused_line(run, *typed)
    assert line.startswith(start), line
    assert mentions(line, *named), line
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_what_a_library_logs_is_told_like_a_warning(run, monkeypatch):
    def log(*_: object, **__: object) -> None:
        logging.getLogger("some.library").warning("dtype='x' is\nodd")

    monkeypatch.setattr(cyclopts.App, "__call__", log)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    code, _, err = run("verify", "a", "--dtype", "x")
    assert (code, err.count("\n")) == (0, 1)
    assert err.startswith("clip-zoo: ")
    assert mentions(err, "--dtype x", "odd")


@pytest.mark.parametrize(
    ("typed", "is_advised"), [(("convert", "a", "b", "--to="), False), (("inspect", "a", "--revision="), True)]
)
def test_only_an_option_that_is_not_required_may_be_left_out(run, typed, is_advised):
    code, _, err = run(*typed)
    assert (code, mentions(err, "leave")) == (2, is_advised), err


@pytest.mark.parametrize("name", ["convert", "inspect", "diff", "verify", "search", "explain", "classify", "index"])
def test_a_smaller_batch_is_advised_where_there_are_batches(run, monkeypatch, name):
    def fail(*_: object, **__: object) -> None:
        raise MemoryError("8 GiB")

    monkeypatch.setattr(cyclopts.App, "__call__", fail)
    code, out, err = run(name)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert mentions(err, "8 GiB")
    assert mentions(err, "--batch-size") is (name in {"classify", "index"})
