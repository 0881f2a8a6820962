"""Requirements on tests: names and values of messages rather than wording, and tolerances from one table."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

import pytest

from support.messages import mentions, naming

TESTS = Path(__file__).parent
FILES = sorted(TESTS.rglob("test_*.py"))

# Three words in a row, of two letters or more.
PROSE = re.compile(r"\b[A-Za-z]{2,} [a-z]{2,} [a-z]{2,}\b")

# Messages of other libraries or of stand-ins, matched by wording.
OTHERS = {"Failed to decode frame 0", "ValueError: no such stage", "OSError: broken is no checkpoint"}
OTHERS |= {
    "ValueError: math domain error",
    "a library that prints",
    "no such thing",
    "numpy.dtype size changed",
    "the disk is gone",
    "out of device memory",
    "no space left",
    "No space left",
    "File too large",
}

# Commands that a message suggests.
OTHERS |= {"hf auth login", "git lfs pull", "pip install flash-attn", "clip-zoo evaluate probe --help"}

# Output of the examples, code, and the name of a warning.
OTHERS |= {"does not fit"}
OTHERS |= {
    "a small orange star on the left",
    "from transformers import ",
    'clip-zoo classify cat.jpg --labels "a cat" "a dog"',
}

ENDS = {"startswith", "endswith"}
TOLERANCES = {"rtol", "atol", "rel", "abs", "rel_tol", "abs_tol", "tolerance", "delta", "decimal", "places"}
# Comparisons of libraries, each with tolerances of its own where a call names none.
COMPARISONS = {"approx", "allclose", "isclose", "assert_allclose", "assert_close", "assert_almost_equal"}
COMPARISONS |= {"assert_array_almost_equal", "assert_array_max_ulp", "assert_array_almost_equal_nulp"}
SMALL = 0.1  # a limit up to this is a tolerance; a larger one is, where it limits an absolute value
DISTANCES = {"abs", "absolute", "subtract", "norm"}
WITH_SUPPORT = sorted({*TESTS.rglob("*.py")} - {TESTS / "support" / "tolerances.py"})


def calls_in(file: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]


def demanded(call: ast.Call) -> list[str]:
    """Return the literal text that a call demands of a message."""
    patterns: list[ast.expr] = [keyword.value for keyword in call.keywords if keyword.arg == "match"]
    if isinstance(call.func, ast.Name) and call.func.id in {"naming", "mentions"}:
        patterns += call.args[call.func.id == "mentions" :]  # whose first is the message
    constants = [node for pattern in patterns for node in ast.walk(pattern) if isinstance(node, ast.Constant)]
    return [constant.value for constant in constants if isinstance(constant.value, str)]


def looked_for(tree: ast.Module) -> list[str]:
    """Return the literal text that an assertion looks for in another text."""
    asserted = [node for one in ast.walk(tree) if isinstance(one, ast.Assert) for node in ast.walk(one.test)]
    sought: list[ast.expr] = []
    for node in asserted:
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
            sought.append(node.left)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ENDS:
            sought += node.args
    texts = [part for text in sought for part in ast.walk(text) if isinstance(part, ast.Constant)]
    return [part.value for part in texts if isinstance(part.value, str)]


def names_sought(function: ast.FunctionDef) -> set[str]:
    """Return the names of variables whose text a test looks for in another text."""
    compared = [node for node in ast.walk(function) if isinstance(node, ast.Compare)]
    sought = [node.left for node in compared if isinstance(node.ops[0], (ast.In, ast.NotIn))]
    for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
        sought += [keyword.value for keyword in call.keywords if keyword.arg == "match"]
        if ast.unparse(call.func).rpartition(".")[2] in {*ENDS, "naming", "mentions"}:
            sought += call.args[ast.unparse(call.func) == "mentions" :]
    return {node.id for one in sought for node in ast.walk(one) if isinstance(node, ast.Name)}


def parameters_sought(tree: ast.Module) -> list[str]:
    """Return the literal text of a test's parameters that the test looks for in another text."""
    tables = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
    found = []
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        for decorator in (one for one in function.decorator_list if "parametrize" in ast.unparse(one)):
            assert isinstance(decorator, ast.Call)
            names, cases = decorator.args
            names = re.findall(r"\w+", ast.unparse(names))
            places = [place for place, name in enumerate(names) if name in names_sought(function)]
            for case in getattr(tables.get(ast.unparse(cases), cases), "elts", ()):
                parts = [case] if len(names) == 1 else getattr(case, "args", None) or getattr(case, "elts", ())
                texts = [node for place in places for part in parts[place : place + 1] for node in ast.walk(part)]
                found += [
                    node.value for node in texts if isinstance(node, ast.Constant) and isinstance(node.value, str)
                ]
    return found


def numbers_in(node: ast.AST | None, kinds: tuple[type, ...] = (int, float)) -> list[float]:
    """Return the numbers of an expression, except 0, which asks for equality, and places in a sequence."""
    if node is None or isinstance(node, ast.Subscript):
        return []
    if isinstance(node, ast.Constant):
        return [node.value] if type(node.value) in kinds and node.value else []
    return [number for child in ast.iter_child_nodes(node) for number in numbers_in(child, kinds)]


def is_distance(node: ast.expr) -> bool:
    """Return True for an expression with an absolute value or a norm."""
    called = [one.func for one in ast.walk(node) if isinstance(one, ast.Call)]
    return bool({one.attr if isinstance(one, ast.Attribute) else ast.unparse(one) for one in called} & DISTANCES)


def limits(comparison: ast.Compare) -> list[float]:
    """Return the numbers of an inequality that are tolerances."""
    if not all(isinstance(operator, (ast.Lt, ast.LtE, ast.Gt, ast.GtE)) for operator in comparison.ops):
        return []
    sides = [comparison.left, *comparison.comparators]
    small = [number for number in numbers_in(comparison, (float,)) if 0 < number <= SMALL]
    if any(is_distance(side) for side in sides):
        return small + [number for side in sides if not is_distance(side) for number in numbers_in(side)]
    return small


def defaults(arguments: ast.arguments) -> list[tuple[str, ast.expr | None]]:
    named = [arg.arg for arg in (*arguments.posonlyargs, *arguments.args)]
    last = zip(reversed(named), reversed(arguments.defaults), strict=False)
    return [*last, *zip((arg.arg for arg in arguments.kwonlyargs), arguments.kw_defaults, strict=True)]


def literal_tolerances(tree: ast.Module) -> list[str]:
    """Return the tolerances that are numbers: keywords of calls, defaults of parameters, and limits of differences.

    A constant of the same file counts as its number.
    """
    found = []
    assigned = [node for node in tree.body if isinstance(node, ast.Assign) and numbers_in(node.value)]
    constants = {ast.unparse(node.targets[0]) for node in assigned}
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in TOLERANCES:
            if numbers_in(node.value) or ast.unparse(node.value) in constants:
                found.append(ast.unparse(node))
        elif isinstance(node, ast.arguments):
            found += [name for name, default in defaults(node) if name in TOLERANCES and numbers_in(default)]
        elif isinstance(node, ast.Compare) and limits(node):
            found.append(ast.unparse(node))
    return found


def default_tolerances(tree: ast.Module) -> list[str]:
    """Return comparisons that leave the tolerance to the library; ours take one from the table."""
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    foreign = {name.name for node in imported if not node.module.startswith("support") for name in node.names}
    found = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
        named = {keyword.arg for keyword in call.keywords} & {*TOLERANCES, None}  # None stands for a row: `**FLOAT32`
        if name in COMPARISONS and not named and (isinstance(call.func, ast.Attribute) or name in foreign):
            found.append(ast.unparse(call))
    return found


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
    tree = ast.parse(file.read_text())
    found = [text for call in calls_in(file) for text in demanded(call)] + looked_for(tree) + parameters_sought(tree)
    found = [text for text in found if PROSE.search(text)]
    assert [text for text in found if text not in OTHERS] == []


def test_prose_that_is_looked_for_is_found():
    written = """
    assert "three words here" in out
    assert x and f"of {x} three words there" not in out
    assert out.endswith("three words more")
    assert "three words of data" == out
    """
    found = [text for text in looked_for(ast.parse(textwrap.dedent(written))) if PROSE.search(text)]
    assert found == ["three words here", " three words there", "three words more"]


def test_prose_among_parameters_is_found():
    written = """
    CASES = [("three words unused", "three words here")]
    @pytest.mark.parametrize(("given", "told"), CASES)
    def test_a(given, told):
        assert mentions(error, told)
    @pytest.mark.parametrize("told", ["three words there", pytest.param("three words more", id="a")])
    def test_b(told):
        assert f"{told}!" in run()
    @pytest.mark.parametrize("told", ["three words given"])
    def test_c(told):
        assert run(told) == 2
    """
    found = parameters_sought(ast.parse(textwrap.dedent(written)))
    assert [text for text in found if PROSE.search(text)] == [
        "three words here",
        "three words there",
        "three words more",
    ]


def test_a_number_in_place_of_a_tolerance_is_found():
    written = """
    assert abs(a - b).max() < 1e-6 * c
    assert 0.5 > a > 0.01
    assert_close(a, b, rtol=1e-5, atol=SMALL)
    def same(a, tolerance=1e-5): ...
    assert a == 1e-5 and b < 0.5 and 1 <= c
    LIMIT = 1e-4
    assert_close(a, b, atol=LIMIT)
    assert_close(a, b, rtol=0, atol=2)
    assert (a - b).abs().max() <= 3 and 4 > np.abs(np.subtract(a, b)) and np.linalg.norm(a - b) < 5.0
    assert a - b < 6 and abs(a - 1) < ROUNDING * b[7] and abs(a - b) > 0
    """
    found = ["atol=LIMIT", "abs(a - b).max() < 1e-06 * c", "0.5 > a > 0.01", "rtol=1e-05", "tolerance", "atol=2"]
    found += ["(a - b).abs().max() <= 3", "4 > np.abs(np.subtract(a, b))", "np.linalg.norm(a - b) < 5.0"]
    assert sorted(literal_tolerances(ast.parse(textwrap.dedent(written)))) == sorted(found)


def test_a_tolerance_that_is_the_librarys_own_is_found():
    written = """
    from numpy.testing import assert_allclose
    from support.tf_models import assert_close
    assert a == pytest.approx(b) and a == pytest.approx(b, rel=LOSS)
    assert_allclose(a, b)
    assert_close(a, b)
    torch.testing.assert_close(a, b, msg="a")
    np.allclose(a, b, **FLOAT32)
    """
    found = ["pytest.approx(b)", "assert_allclose(a, b)", "torch.testing.assert_close(a, b, msg='a')"]
    assert sorted(default_tolerances(ast.parse(textwrap.dedent(written)))) == sorted(found)


@pytest.mark.parametrize("file", WITH_SUPPORT, ids=lambda file: str(file.relative_to(TESTS)))
def test_each_tolerance_is_a_row_of_the_table(file):
    tree = ast.parse(file.read_text())
    assert literal_tolerances(tree) + default_tolerances(tree) == []
