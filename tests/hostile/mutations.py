"""Mutations of valid files: values of other types, ranges and nesting in JSON; changed, cut and added bytes."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

from hostile.catalogue import LONGEST_MESSAGE
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

JUNK: list[Any] = [None, True, False, 0, 1, -1, 7, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf")]
JUNK += ["", "x", "0", "-1", "\x1b[2J", "\u202e", "\ud800", "a b", "x" * 3000, "<|endoftext|>"]
JUNK += [
    [],
    {},
    [[]],
    [None],
    [1],
    ["x"],
    ["x"] * 50,
    {"a": 1},
    {"0": [0]},
    {"content": "x"},
    {"content": 3},
    [{}],
    [{"id": 1}],
]
KEYS = [
    "self",
    "cls",
    "__class__",
    "__dict__",
    "__init__",
    "preprocess",
    "to_dict",
    "encode",
    "table",
    "dtype",
    "\x1b[2J",
]
KEYS += [
    "_dtype",
    "_attention",
    "_commit_hash",
    "id2label",
    "num_labels",
    "pruned_heads",
    "torch_dtype",
    "clean",
    "errors",
]


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in a tree, up to 20 of each list or dict."""
    items: list[tuple[Any, Any]] = []
    if isinstance(tree, dict):
        items = list(tree.items())
    elif isinstance(tree, list):
        items = list(enumerate(tree))
    return [path, *(inner for key, value in items[:20] for inner in places(value, (*path, key)))]


@st.composite
def trees(draw: st.DrawFn, valid: Any) -> Any:
    """Return a JSON value with one to three changes."""
    tree = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(tree)))
        if not path:
            tree = copy.deepcopy(draw(st.sampled_from(JUNK))) if draw(st.integers(0, 9)) == 0 else tree
            if isinstance(tree, dict):
                tree[draw(st.sampled_from(KEYS))] = copy.deepcopy(draw(st.sampled_from(JUNK)))
            continue
        holder = tree
        for key in path[:-1]:
            holder = holder[key]
        change = draw(st.sampled_from(["replace", "replace", "replace", "remove", "nest", "add"]))
        if change == "remove":
            del holder[path[-1]]
        elif change == "nest":
            holder[path[-1]] = draw(st.sampled_from([[holder[path[-1]]], {"x": holder[path[-1]]}]))
        elif change == "add" and isinstance(holder[path[-1]], dict):
            holder[path[-1]][draw(st.sampled_from(KEYS))] = copy.deepcopy(draw(st.sampled_from(JUNK)))
        else:
            holder[path[-1]] = copy.deepcopy(draw(st.sampled_from(JUNK)))
    return tree


@st.composite
def contents(draw: st.DrawFn, valid: bytes) -> bytes:
    """Return the bytes of a file with one to four changes."""
    content = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        change = draw(st.sampled_from(["change", "change", "cut", "insert", "remove", "repeat"]))
        if change == "change" and content:
            content[place] = draw(st.integers(0, 255))
        elif change == "cut":
            del content[place:]
        elif change == "insert":
            content[place:place] = draw(st.binary(min_size=1, max_size=9))
        elif change == "remove":
            del content[place : place + draw(st.integers(1, 9))]
        else:
            content[place:place] = content[place : place + draw(st.integers(1, 40))]
    return bytes(content)


def read_or_refused(read: Callable[[Any], object], source: Any) -> None:
    """Read; an error must be of a class that the readers document, and its message one short line."""
    message = "it was read"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(source)
    except (ValueError, FileNotFoundError) as error:
        message = str(error)
    assert message.isprintable(), ascii(message)[:2000]
    assert 0 < len(message) <= LONGEST_MESSAGE, message[:2000]
