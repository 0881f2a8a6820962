"""Hostile files of safetensors and Flax, and hostile indexes of shards."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import msgpack
from hostile.catalogue import Hostile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "logit_scale"


def safetensors(header: Any, values: bytes = b"\0" * 4, *, hole: int = 0) -> Callable[[Path], Path]:
    """Return a maker of a file with a header, given as a value for JSON or as bytes, and a hole before its end."""
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()

    def make(folder: Path) -> Path:
        path = folder / "model.safetensors"
        with path.open("wb") as file:
            file.write(struct.pack("<Q", len(encoded)) + encoded + values)
            if hole:
                file.truncate(8 + len(encoded) + hole)
        return path

    return make


def tensor(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4), name: str = NAME) -> dict[str, Any]:
    return {name: {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


def many(count: int) -> dict[str, Any]:
    return {f"{index}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for index in range(count)}


def flax(tree: Any) -> Callable[[Path], Path]:
    content = tree if isinstance(tree, bytes) else msgpack.packb(tree)

    def make(folder: Path) -> Path:
        (folder / "flax_model.msgpack").write_bytes(content)
        return folder / "flax_model.msgpack"

    return make


def array(shape: Any = (1,), dtype: Any = "float32", values: Any = b"\0" * 4, code: int = 1) -> msgpack.ExtType:
    return msgpack.ExtType(code, msgpack.packb((shape, dtype, values)))


def pieces(chunks: Any, shape: Any, **more: Any) -> dict[str, Any]:
    return {NAME: {"__msgpack_chunked_array__": True, "shape": shape, "chunks": chunks, **more}}


def index(weight_map: Any, *, text: bytes | None = None) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        content = json.dumps({"metadata": {}, "weight_map": weight_map}).encode() if text is None else text
        (folder / "model.safetensors.index.json").write_bytes(content)
        safetensors(tensor())(folder).rename(folder / "model-00001-of-00001.safetensors")
        return folder

    return make


def linked_shard(folder: Path) -> Path:
    """Write a shard that is a link out of the folder."""
    (folder / "model").mkdir()
    safetensors(tensor())(folder).rename(folder / "secret.safetensors")
    (folder / "model" / "a.safetensors").symlink_to(folder / "secret.safetensors")
    index({NAME: "a.safetensors"})(folder / "model")
    return folder / "model"


def linked_index(folder: Path) -> Path:
    """Write an index that is a link out of the folder."""
    index({NAME: "model-00001-of-00001.safetensors"})(folder)
    (folder / "model").mkdir()
    (folder / "model" / "model.safetensors.index.json").symlink_to(folder / "model.safetensors.index.json")
    return folder / "model"


def linked_weights(folder: Path) -> Path:
    safetensors(tensor())(folder).rename(folder / "secret.safetensors")
    (folder / "model").mkdir()
    (folder / "model" / "model.safetensors").symlink_to("../secret.safetensors")
    return folder / "model"


def _twice(first: dict[str, Any], second: dict[str, Any]) -> bytes:
    """Return the keys of two objects in one."""
    return json.dumps(first).encode()[:-1] + b"," + json.dumps(second).encode()[1:]


_METADATA = b'{"__metadata__": {"format": "tf", "format": "pt"}, '
_SHARD = "model-00001-of-00001.safetensors"
_NAMED = b'{"weight_map": {"a": "' + b"x" * 300 + b'"}}'
_MAP = {"weight_map": {NAME: _SHARD}}
_TWO_SHARDS = b'{"weight_map": ' + _twice({NAME: "other.safetensors"}, {NAME: _SHARD}) + b"}"

FILES = [
    Hostile("a header of 90 MB", safetensors(json.dumps(tensor()).encode() + b" " * 90 * 10**6)),
    Hostile("a header of 2**63 bytes", safetensors(b"", struct.pack("<Q", 2**63))),
    Hostile("a header that is too long", lambda folder: _write(folder, struct.pack("<Q", 2**40) + b"{}")),
    Hostile("50,000 tensors", safetensors(many(50_000), b"")),
    Hostile("a file of 16 GB that was never written", safetensors(tensor("U8", [2**34], [0, 2**34]), b"", hole=2**34)),
    Hostile("a dtype that numpy lacks", safetensors(tensor("F8_E8M0", [4]))),
    Hostile("a dtype that is a list", safetensors(tensor([]))),
    Hostile("a shape with null", safetensors(tensor(shape=[None]))),
    Hostile("a shape that overflows", safetensors(tensor(shape=[2**62, 2**62]))),
    Hostile("a shape of 1,000 axes", safetensors(tensor(shape=[1] * 1000))),
    Hostile("tensors that overlap", safetensors(tensor() | tensor(name="other"))),
    Hostile("values after the file's end", safetensors(tensor(offsets=[0, 2**40], shape=[2**38]))),
    Hostile("a name with escapes in safetensors", safetensors(tensor(name="\x1b]0;owned\x07"))),
    Hostile("a name of 1 MB in safetensors", safetensors(tensor(name="x" * 10**6))),
    Hostile("a name of a lone surrogate", safetensors(b'{"\\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}')),
    Hostile("metadata that is a number", safetensors({"__metadata__": 3} | tensor())),
    Hostile("a header that is a list", safetensors([])),
    Hostile("a header nested deeply", safetensors(b"[" * 10**6)),
    Hostile("a tensor's name that occurs twice", safetensors(_twice(tensor(dtype="I32"), tensor()))),
    Hostile("metadata that occur twice", safetensors(_twice({"__metadata__": {}}, {"__metadata__": {}} | tensor()))),
    Hostile("a key of metadata that occurs twice", safetensors(_METADATA + json.dumps(tensor()).encode()[1:])),
    Hostile("a dtype without a meaning", flax({NAME: array(dtype="V4")})),
    Hostile("a dtype with fields", flax({NAME: array(dtype="3f4,,")})),
    Hostile("a dtype of objects", flax({NAME: array(dtype="O", values=b"\0" * 8)})),
    Hostile("a dtype that is a module", flax({NAME: array(dtype="np")})),
    Hostile("a dtype with escapes", flax({NAME: array(dtype="\x1b[2J" * 10**5)})),
    Hostile("a dtype that is a number", flax({NAME: array(dtype=4)})),
    Hostile("a shape of None in Flax", flax({NAME: array(shape=(None,))})),
    Hostile("a negative shape", flax({NAME: array(shape=(-1, -1))})),
    Hostile("a shape of texts", flax({NAME: array(shape=("1",))})),
    Hostile("a shape of floats in Flax", flax({NAME: array(shape=(1.0,))})),
    Hostile("a shape of 2**63", flax({NAME: array(shape=(2**63, 0), values=b"")})),
    Hostile("a shape of 1,000 axes in Flax", flax({NAME: array(shape=(1,) * 1000)})),
    Hostile("an array without values", flax({NAME: array(values=None)})),
    Hostile("an array of another extension", flax({NAME: array(code=2)})),
    Hostile("pieces that are missing", flax(pieces({"1": array()}, {"0": 1}))),
    Hostile("pieces that are a list", flax(pieces([array()], [1]))),
    Hostile("pieces that are numbers", flax(pieces({"0": 3}, {"0": 1}))),
    Hostile("no pieces", flax({NAME: {"__msgpack_chunked_array__": True}})),
    Hostile("pieces of two dtypes", flax(pieces({"0": array(), "1": array(dtype="int32")}, {"0": 2}))),
    Hostile("a shape of None for pieces", flax(pieces({"0": array()}, {"0": None}))),
    Hostile("10 million empty lists", flax(b"\xdd" + struct.pack(">I", 10**7) + b"\x90" * 10**7)),
    Hostile("10 million keys", flax(b"\xdf" + struct.pack(">I", 10**7) + b"\xa0\x90" * 10**7)),
    Hostile("a list of 2**32 values", flax(b"\xdd\xff\xff\xff\xff")),
    Hostile("a text of 4 GB", flax(b"\x81\xdb\xff\xff\xff\xff")),
    Hostile("maps nested deeply", flax(b"\x81\xa1a" * 10**5 + b"\x80")),
    Hostile("a text that is not UTF-8", flax(b"\x81\xa1\xff\x80")),
    Hostile("a key that is a list", flax(b"\x81\x90\x80")),
    Hostile("a name with escapes in Flax", flax({"\x1b[2J": array()})),
    Hostile("a leaf with escapes", flax({"\x1b[2J": 3})),
    Hostile("an index of 500,000 tensors", index({f"{number}": _SHARD for number in range(500_000)}), "TooLargeError"),
    Hostile("an index of 9,000 shards", index({f"{number}": f"{number}.safetensors" for number in range(9_000)})),
    Hostile("an index of 9,000 tensors in one shard", index({f"{number}": _SHARD for number in range(9_000)})),
    Hostile("an index of a shard above", index({"a": "../a.safetensors"}), "ValueError"),
    Hostile("an index of an absolute shard", index({"a": "/etc/passwd"}), "ValueError"),
    Hostile("an index with escapes", index({"a\x1b[2J": _SHARD})),
    Hostile("an index of a shard with escapes", index({"a": "\x1b[2J"})),
    Hostile("an index of a very long shard", index(None, text=_NAMED), "ValueError"),
    Hostile("an index of a name that occurs twice", index(None, text=_TWO_SHARDS), "ValueError"),
    Hostile("an index with two maps", index(None, text=_twice({"weight_map": {}}, _MAP)), "ValueError"),
    Hostile("an index that is a list", index(None, text=b"[]")),
    Hostile("an index of numbers", index({"a": 3})),
    Hostile("an index without an end", index(None, text=b'{"weight_map": {'), "ValueError"),
    Hostile("a shard that is a link out of the folder", linked_shard, "ValueError"),
    Hostile("an index that is a link out of the folder", linked_index, "ValueError"),
    Hostile("weights that are a link out of the folder", linked_weights, "ValueError"),
]


def _write(folder: Path, content: bytes) -> Path:
    (folder / "model.safetensors").write_bytes(content)
    return folder / "model.safetensors"
