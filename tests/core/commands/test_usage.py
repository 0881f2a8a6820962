"""Errors in the form of a command line: one line that starts with what was typed, and says what would be right."""

from __future__ import annotations

import pytest

from support.messages import mentions

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
        ((*TRAIN, "--precision", "x"), "--precision x ", ["float32", "bf16"]),
        (("inspect", "a", "--hash=maybe"), "--hash maybe ", ["true"]),
        ((*CONVERT, "--max-shard-size", "-5MB"), "--max-shard-size ", ["--max-shard-size=-5MB"]),
        ((*CONVERT, "--max-shard-size"), "--max-shard-size ", ["clip-zoo convert --help"]),
        ((*TRAIN, "--log"), "--log ", ["clip-zoo train --help"]),
        (("embed", "a", "--out", "b", "--columns"), "--columns ", ["clip-zoo embed --help"]),
        (("evaluate", "probe", "--data", "--json"), "--data ", ["clip-zoo evaluate probe --help"]),
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
