"""Mutations: each changes one place of a module, and none changes code that affects no number."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from mutants.mutations import FILES, mutations
from mutants.survivors import matches, reason_for, rows

ROOT = Path(__file__).parents[2]

MODULE = '''
"""A docstring, 1."""
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import os

class Layer:
    scale: float = 0.5

    def run(self, x, flag=True):
        """Another, 2."""
        if x.ndim != 3:
            raise ValueError(f"{x.ndim} is not {3}")
        check_shape(x, 4)
        if flag != 3:
            check_shape(x, 4)
        x = x[1:] + self.bias if flag and not self.plain else x
        return softmax(x, axis=-1)
'''


def test_every_place_that_decides_a_number_is_changed_once():
    found = list(mutations(MODULE))
    assert {(one.function, one.change) for one in found} == {
        ("Layer", "0.5 -> 0.75"),
        ("Layer.run", "True -> False"),
        ("Layer.run", "x[1:] + self.bias if flag and (not self.plain) else x -> x[1:] + self.bias"),
        ("Layer.run", "x[1:] + self.bias if flag and (not self.plain) else x -> x"),
        ("Layer.run", "flag and (not self.plain) -> flag or not self.plain"),
        ("Layer.run", "not self.plain -> self.plain"),
        ("Layer.run", "x[1:] + self.bias -> x[1:] - self.bias"),
        ("Layer.run", "1: -> :"),
        ("Layer.run", "1 -> 2"),
        ("Layer.run", "softmax(x, axis=-1) -> softmax(x)"),
        ("Layer.run", "-1 -> 0"),
    }
    original = ast.unparse(ast.parse(MODULE)).splitlines()
    for one in found:
        lines = one.source.splitlines()
        assert len(lines) == len(original)
        assert sum(line != old for line, old in zip(lines, original, strict=True)) == 1
        assert one.function in {"Layer", "Layer.run"}
        assert "3" not in one.change
        assert "4" not in one.change


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a == b", ["a != b"]),
        ("a < b", ["a <= b", "a > b"]),
        ("a is None", ["a is not None"]),
        ("a / b", ["a * b"]),
        ("a @ b", []),
        ("f(a)", []),
        ("'eager'", []),
        ("3.0", ["4.5"]),
        ("f(a, b=c, d=e)", ["f(a, d=e)", "f(a, b=c)"]),
        ("~a", ["a"]),
        ("-a", ["a"]),
        ("-0.5", ["0.5", "-0.75"]),
        ("-2", ["0", "-3"]),
        ("f(a, b=c, device=d)", ["f(a, device=d)"]),
        ("f(a, b=c, warns=not d)", ["f(a, warns=not d)"]),
    ],
)
def test_an_expression_becomes(before, after):
    assert [one.source for one in mutations(f"x = {before}")] == [f"x = {new}" for new in after]


def test_a_statement_is_dropped_and_a_condition_decided():
    assert [one.source for one in mutations("x.fill(a)")] == ["pass"]
    assert [one.source for one in mutations("x += a")] == ["pass"]
    assert [one.source.splitlines()[0] for one in mutations("if a:\n    b = c")] == ["if True:", "if False:"]


def test_the_statement_of_a_mutation_excludes_those_inside_it():
    source = "z = 1\ndef run(a, b=2):\n    if (a\n        > b):\n        return a - 3\n    return [\n        4,\n    ]"
    found = {one.change: list(one.statement) for one in mutations(source)}
    assert found["1 -> 2"] == found["2 -> 3"] == []
    assert found["a > b -> a >= b"] == found["if a > b -> if True"] == [3, 4]
    assert found["a - 3 -> a + 3"] == [5]
    assert found["4 -> 5"] == [6, 7, 8]


def test_every_survivor_has_a_reason_and_others_have_none():
    assert all(row["reason"] for row in rows())
    assert reason_for("layers", next(mutations("x = 1"))) is None


def test_every_survivor_is_a_mutation_that_exists():
    files = [ROOT / f"clip_{backend}" / f"{file}.py" for backend in ("torch", "tf", "flax") for file in FILES]
    found = [(path.stem, one) for path in files for one in mutations(path.read_text(encoding="utf-8"))]
    assert [row for row in rows() if not any(matches(row, *one) for one in found)] == []
