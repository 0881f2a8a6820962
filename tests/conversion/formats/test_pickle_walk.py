"""The walk over pickles: the values of Python's own unpickler where it builds any, and no live object."""

from __future__ import annotations

import argparse
import pickle
from io import BytesIO

import pytest

from converters.formats.pickle_walk import Made, Name, PickleWalk


def load(content, makers=None):
    walk = PickleWalk(makers or {}, lambda key: ("reference", key), lambda _: None)
    return walk.load(BytesIO(content))


PLAIN = {
    "a": [1, -1, 2**40, 10**30, 1.5, None, True, False],
    "b": {"ü": ("x", (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4))},
}


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_are_those_of_the_unpickler(protocol):
    shared = ["in two places"]
    value = {**PLAIN, "c": [shared, shared]}
    found = load(pickle.dumps(value, protocol))
    assert found == value
    assert found["c"][0] is found["c"][1]


def test_bytes_are_those_of_the_unpickler():
    assert load(pickle.dumps([b"a", b"b" * 300, bytearray(b"c")], 5)) == [b"a", b"b" * 300, b"c"]


@pytest.mark.parametrize("protocol", range(6))
def test_objects_become_names_and_attributes(protocol):
    found = load(pickle.dumps(argparse.Namespace(lr=0.1), protocol))
    assert isinstance(found, Made)
    assert found.attributes == {"lr": 0.1}
    assert load(pickle.dumps(argparse.Namespace, protocol)) == Name("argparse", "Namespace")


def test_a_maker_of_the_reader_is_called():
    content = b"cmodule\nfunction\n(K\x01K\x02tR."
    assert load(content, {("module", "function"): lambda first, second: first + second}) == 3


def test_only_text_keys_are_kept():
    assert load(pickle.dumps({1: "a", "b": 2, (3,): 4})) == {"b": 2}


def test_a_pickle_that_holds_itself_is_read():
    value = {"a": []}
    value["a"].append(value)
    found = load(pickle.dumps(value))
    assert found["a"][0] is found


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"X\xff\xff\xff\xff", b"]", b"I99x\n.", b"L" + b"9" * 5000 + b"L\n."]
)
def test_what_is_no_whole_pickle_is_refused(content):
    with pytest.raises(pickle.UnpicklingError):
        load(content)


def test_too_many_opcodes_are_refused():
    with pytest.raises(ValueError, match="opcodes"):
        load(b"(" + b"N" * 10**6 + b"l.")
