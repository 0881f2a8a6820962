"""Flax's MessagePack files: the same bytes as the library's own, and only arrays are read."""

from __future__ import annotations

import ml_dtypes
import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.formats import flax_msgpack
from converters.formats.msgpack_walk import Extension, walk
from converters.naming.names import to_file
from converters.naming.rules import FLAX
from support.configs import tiny_config
from support.entries import assert_same, entry, random_entries
from support.messages import naming

DTYPES = [np.float64, np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.int64, np.uint8, np.bool_]


def packed_array(array):
    return msgpack.ExtType(1, msgpack.packb((array.shape, array.dtype.name, array.tobytes())))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pieces", [False, True])
def test_what_is_written_is_read_back_bit_for_bit(tmp_path, monkeypatch, dtype, pieces):
    if pieces:
        monkeypatch.setattr(flax_msgpack, "LARGEST_PIECE", 101)
    written = to_file(random_entries(tiny_config(), dtype=dtype), FLAX)
    flax_msgpack.write(tmp_path / "model", written)
    assert_same(flax_msgpack.read(tmp_path / "model"), written)


def test_the_bytes_are_those_of_the_msgpack_library(tmp_path):
    tree = {
        "vision_model": {
            f"x{size}": np.arange(size, dtype=np.uint8) for size in (0, 1, 200, 240, 250, 256, 65500, 65536)
        }
    }
    tensors = {f"vision_model/{name}": entry(array) for name, array in tree["vision_model"].items()}
    flax_msgpack.write(tmp_path / "model", tensors)
    assert (tmp_path / "model").read_bytes() == msgpack.packb(tree, default=packed_array)


@pytest.mark.parametrize("size", range(1, 40))
def test_every_length_of_an_extension(tmp_path, size):
    array = np.arange(size, dtype=np.uint8)
    flax_msgpack.write(tmp_path / "model", {"a": entry(array)})
    assert (tmp_path / "model").read_bytes() == msgpack.packb({"a": packed_array(array)})
    assert_same(flax_msgpack.read(tmp_path / "model"), {"a": array})


def test_tensors_can_be_written_to_without_changing_the_file(tmp_path):
    path = tmp_path / "model"
    flax_msgpack.write(path, {"weight": entry(np.zeros(4, np.float32))})
    before = path.read_bytes()
    flax_msgpack.read(path)["weight"].load()[:] = 1
    assert path.read_bytes() == before


def test_a_scalar_of_numpys(tmp_path):
    inner = msgpack.packb(((), "float32", np.float32(2.5).tobytes()))
    (tmp_path / "model").write_bytes(msgpack.packb({"logit_scale": msgpack.ExtType(3, inner)}))
    assert flax_msgpack.read(tmp_path / "model")["logit_scale"].load() == 2.5


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_file_that_is_cut_short_is_refused(tmp_path, share):
    path = tmp_path / "model"
    flax_msgpack.write(path, to_file(random_entries(tiny_config()), FLAX))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=naming("MessagePack")):
        flax_msgpack.read(path)


@pytest.mark.parametrize("content", [b"version https://git-lfs.example/spec/v1", b"\xc1", b"{}", b"\x81\xc0\x01"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "model").write_bytes(content)
    with pytest.raises(ValueError, match=naming("MessagePack")):
        flax_msgpack.read(tmp_path / "model")


@pytest.mark.parametrize(
    ("tree", "named"),
    [
        ([1, 2], ["Flax"]),
        ({"a": {"b": 3}}, ["a/b"]),
        ({"a": msgpack.ExtType(9, b"123")}, ["a"]),
        ({"a": msgpack.ExtType(1, b"\x03")}, ["a", "Flax"]),
        ({"a": msgpack.ExtType(1, msgpack.packb(([2], "float32", b"1234")))}, ["a", [2], 4]),
        ({"a": msgpack.ExtType(1, msgpack.packb(([1], "float12", b"1234")))}, ["a", "'float12'"]),
        ({"a": {"__msgpack_chunked_array__": True, "shape": {"0": 3}, "chunks": {}}}, ["a", (3,)]),
    ],
)
def test_values_other_than_arrays_are_refused_by_name(tmp_path, tree, named):
    (tmp_path / "model").write_bytes(msgpack.packb(tree))
    with pytest.raises(ValueError, match=naming(*named)):
        flax_msgpack.read(tmp_path / "model")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=40), inner, max_size=20),
    max_leaves=30,
)


@given(VALUES)
def test_walking_gives_what_the_library_reads(value):
    assert walk(np.frombuffer(msgpack.packb(value), np.uint8)) == value


@pytest.mark.parametrize("size", [0, 1, 2, 16, 255, 256, 65535, 65536, 70000])
def test_walking_leaves_binary_content_where_it_is(size):
    content = bytes(size)
    packed = msgpack.packb([content, msgpack.ExtType(5, content)])
    binary, extension = walk(np.frombuffer(packed, np.uint8))
    assert isinstance(extension, Extension)
    assert (binary.code, extension.code, extension.end) == (None, 5, len(packed))
    assert binary.end - binary.start == extension.end - extension.start == size


def test_walking_many_items():
    value = {str(number): list(range(20)) for number in range(70_000)}
    assert walk(np.frombuffer(msgpack.packb({"all": list(value)}), np.uint8)) == {"all": list(value)}
