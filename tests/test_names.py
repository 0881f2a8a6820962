"""A name means one thing: public functions and classes of the five packages share none, twins of the backends aside."""

from __future__ import annotations

import ast
from collections import defaultdict

from support.imports import PACKAGES, ROOT

BACKENDS = ("clip_torch", "clip_tf", "clip_flax")
# Names in several places that mean the same in each, by reason.
SHARED = {
    "a command has the name of the function that it calls": {"convert", "diff", "embed", "inspect", "verify"},
    "each kind of evaluation has these two functions": {"evaluate", "from_embeddings"},
    "each format of files has these two functions": {"read", "write"},
    "each program starts in this function": {"main"},
    "a protocol, and the classes of the backends that follow it": {"Trainer"},
    "one quantity, in numpy and in the frameworks": {"cross_entropy", "unit_norm"},
    "an array of any framework, or of one that a backend declares": {"to_numpy"},
}


def places_of_names() -> dict[str, set[str]]:
    """Return the files that define each public name at their top; files of one name in the backends count as one."""
    found: dict[str, set[str]] = defaultdict(set)
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            place = path.name if package in BACKENDS else str(path.relative_to(ROOT))
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                    found[node.name].add(place)
    return found


def test_no_two_things_have_the_same_name():
    twice = {name: sorted(places) for name, places in places_of_names().items() if len(places) > 1}
    allowed = set().union(*SHARED.values())
    assert {name: places for name, places in twice.items() if name not in allowed} == {}
    assert allowed <= twice.keys()


def names_in(path):
    return {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}


def test_weights_are_parameters_and_those_of_attention_have_their_own_name():
    files = [ROOT / package / f"{name}.py" for package in BACKENDS for name in ("attention", "layers")]
    files.append(ROOT / "clip_torch" / "inference.py")
    found = {path: names_in(path) for path in files}
    assert [str(path) for path, names in found.items() if "weights" in names] == []
    assert [str(path) for path, names in found.items() if "attention_weights" not in names] == []
