"""Docstrings open as in the rest of the Python world: functions with an imperative, nothing with a question word.

Those of tests say what holds, and those of fixtures and properties may open with a noun. Nor do comments open with a
question word.
"""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("clip_core", "converters", "clip_torch", "clip_tf", "clip_flax", "benchmarks", "examples", "tests")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

QUESTION_WORDS = {"How", "What", "When", "Where", "Whether", "Which", "Who", "Whom", "Whose", "Why"}
# Words that open noun phrases and other fragments, and that look like verbs to the pattern below.
NO_IMPERATIVES = {
    "A", "All", "An", "Any", "Around", "As", "At", "Between", "Both", "By", "Canonical", "Cross-entropy", "Each",
    "Equal", "Every", "For", "From", "Half", "If", "In", "It", "Itself", "JSON", "Layer", "Like", "Likewise", "More",
    "Most", "No", "None", "Nothing", "Of", "Old", "On", "One", "Only", "Our", "Random", "Relative", "Same", "Several",
    "So", "Some", "Such", "Text", "That", "The", "Their", "There", "These", "They", "This", "Those", "Two", "Under",
    "With", "Without",
}  # fmt: skip
# Imperatives that look like participles.
IMPERATIVES = {"Bring", "Embed", "Feed", "Need", "Seed", "Spread"}
# Third persons ("Returns"), plurals ("Values"), participles ("Computed", "Making") and possessives ("SciPy's").
NO_IMPERATIVE = re.compile(r"(?<!s)s$|ed$|ing$|'s$")


def opening(docstring: str) -> str:
    return re.match(r"\W*([\w'-]*)", docstring).group(1)


def documented(path: Path) -> list[tuple[ast.AST, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    return [(node, text) for node in nodes if (text := ast.get_docstring(node))]


def is_function(node: ast.AST) -> bool:
    """Return True for functions other than tests, fixtures and properties."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("test_"):
        return False
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    return not any(kind in decorator for kind in ("property", "fixture") for decorator in decorators)


def opens_with_imperative(docstring: str) -> bool:
    word = opening(docstring)
    if not docstring[0].isalpha() or not docstring[0].isupper() or word in NO_IMPERATIVES:
        return False
    return word in IMPERATIVES or not NO_IMPERATIVE.search(word)


def faults(path: Path) -> list[str]:
    found = []
    for node, docstring in documented(path):
        place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}: {docstring.splitlines()[0]}"
        if opening(docstring) in QUESTION_WORDS:
            found.append(f"{place} (opens with a question word)")
        elif is_function(node) and not opens_with_imperative(docstring):
            found.append(f"{place} (does not open with an imperative)")
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_open_with_an_imperative_or_a_noun(folder):
    files = [path for path in FILES if path.relative_to(ROOT).parts[0] == folder]
    found = [fault for path in files for fault in faults(path)]
    assert not found, "\n".join(found)


def opening_comments(text: str) -> list[str]:
    return re.findall(r"#\s+(?:What|How|Where|Whether|Which|Who|Whose)\b.*", text)


def test_no_comment_opens_with_a_question_word():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    written = {".py", ".sh", ".txt", ".toml", ".yml", ".cfg", ""}
    files = [ROOT / name for name in listed.splitlines() if Path(name).suffix in written]
    texts = {path: path.read_text(encoding="utf-8", errors="ignore") for path in files if path.is_file()}
    assert {
        path: found for path, text in texts.items() if path != Path(__file__) if (found := opening_comments(text))
    } == {}
    assert opening_comments("x = 1  # Where it lies\n# what follows\n") == ["# Where it lies"]


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Return the mean.", True),
        ("Embed texts.", True),
        ("Process images.", True),
        ("Returns the mean.", False),
        ("The mean.", False),
        ("SciPy's optimizer.", False),
        ("Computed once.", False),
        ("`x` as numpy.", False),
    ],
)
def test_an_imperative_is_distinguished_from_other_openings(docstring, expected):
    assert opens_with_imperative(docstring) is expected
