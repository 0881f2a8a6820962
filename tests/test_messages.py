"""What tests demand of messages and of numbers: names and values, not wording, and tolerances of one table."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from support.messages import mentions, naming

TESTS = Path(__file__).parent
FILES = sorted(TESTS.rglob("test_*.py"))

# Three words in a row, of two letters or more.
PROSE = re.compile(r"\b[A-Za-z]{2,} [a-z]{2,} [a-z]{2,}\b")

# What is run or raised elsewhere, and so comes in the words of others.
OTHERS = {"Failed to decode frame 0", "ValueError: no such stage", "OSError: broken is no checkpoint"}
OTHERS |= {
    "ValueError: math domain error",
    "a library that prints",
    "no such thing",
    "the disk is gone",
    "no space left",
    "No space left",
    "File too large",
}

# Commands that a message tells to run.
OTHERS |= {"hf auth login", "pip install flash-attn"}

TOLERANCES = {"rtol", "atol", "rel", "abs"}


def calls_in(file: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]


def demanded(call: ast.Call) -> list[str]:
    """The literal text that a call demands of a message."""
    patterns: list[ast.expr] = [keyword.value for keyword in call.keywords if keyword.arg == "match"]
    if isinstance(call.func, ast.Name) and call.func.id in {"naming", "mentions"}:
        patterns += call.args
    constants = [node for pattern in patterns for node in ast.walk(pattern) if isinstance(node, ast.Constant)]
    return [constant.value for constant in constants if isinstance(constant.value, str)]


def literal_tolerances(call: ast.Call) -> list[str]:
    return [
        f"{keyword.arg}={ast.unparse(keyword.value)}"
        for keyword in call.keywords
        if keyword.arg in TOLERANCES
        if any(isinstance(node, ast.Constant) and isinstance(node.value, float) for node in ast.walk(keyword.value))
    ]


def test_names_and_values_are_found_in_any_order_and_by_themselves():
    message = "model_max_length=77 is given,\nand 8 tokens (1.5 each) make no (4, 12)"
    assert mentions(message, "model_max_length", 77, 8, 1.5, (4, 12))
    assert re.search(naming(8, "model_max_length=77"), message)
    for absent in ("max_length", 7, 1, 5, "token", (4, 1)):
        assert not mentions(message, absent)
    assert not mentions("type: dictionary", dict)
    assert mentions("type: dict", dict)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(TESTS)))
def test_no_test_demands_the_wording_of_a_message(file):
    found = [text for call in calls_in(file) for text in demanded(call) if PROSE.search(text)]
    assert [text for text in found if text not in OTHERS] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(TESTS)))
def test_each_tolerance_is_a_row_of_the_table(file):
    assert [row for call in calls_in(file) for row in literal_tolerances(call)] == []
