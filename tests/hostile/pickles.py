"""Hostile files of PyTorch: each shows one thing that a pickle or an archive can state."""

from __future__ import annotations

import pickle
import struct
import zipfile
from typing import TYPE_CHECKING

import numpy as np
from hostile.catalogue import Hostile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def text(value: str) -> bytes:
    encoded = value.encode("utf-8", "surrogatepass")
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def number(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return pickle.BININT + struct.pack("<i", value)
    encoded = pickle.encode_long(value)
    return pickle.LONG1 + bytes([len(encoded)]) + encoded


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def tupled(*items: bytes) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def called(function: bytes, *arguments: bytes) -> bytes:
    return function + tupled(*arguments) + pickle.REDUCE


def storage(key: bytes = text("0"), kind: str = "FloatStorage", count: int = 6) -> bytes:
    return tupled(text("storage"), named("torch", kind), key, text("cpu"), number(count)) + pickle.BINPERSID


def tensor(shape: bytes | tuple = (2, 3), stride: bytes | tuple = (3, 1), offset: bytes = number(0), of=None) -> bytes:
    shape, stride = (one if isinstance(one, bytes) else tupled(*map(number, one)) for one in (shape, stride))
    hooks = pickle.NEWFALSE + pickle.NONE
    return called(named("torch._utils", "_rebuild_tensor_v2"), of or storage(), offset, shape, stride, hooks)


def state_dict(*extra: bytes, weight: bytes | None = None) -> bytes:
    """Return a state dict of one tensor, with more opcodes after it."""
    items = text("logit_scale") + (tensor((), ()) if weight is None else weight) + pickle.SETITEM
    return pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + items + b"".join(extra) + pickle.STOP


def item(value: bytes, key: str = "a") -> bytes:
    """Return opcodes that put a value into the state dict."""
    return text(key) + value + pickle.SETITEM


def archive(
    content: bytes,
    *,
    method: int = zipfile.ZIP_STORED,
    values: bytes = np.arange(6, dtype=np.float32).tobytes(),
    more: dict[str, bytes] | None = None,
) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "pytorch_model.bin"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("model/data.pkl", content, method)
            file.writestr("model/data/0", values)
            for name, more_content in (more or {}).items():
                file.writestr(name, more_content)
        return path

    return make


def legacy(*pickles: bytes, rest: bytes = b"") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "pytorch_model.bin"
        head = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
        path.write_bytes(b"".join(head) + b"".join(pickles) + rest)
        return path

    return make


def encrypted(folder: Path) -> Path:
    path = archive(state_dict())(folder)
    content = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.find(signature)
        while start >= 0:
            content[start + place] |= 1
            start = content.find(signature, start + 1)
    path.write_bytes(content)
    return path


def broken_deflate(folder: Path) -> Path:
    path = archive(state_dict(), method=zipfile.ZIP_DEFLATED)(folder)
    content = bytearray(path.read_bytes())
    content[50:60] = b"\xff" * 10
    path.write_bytes(content)
    return path


def huge_directory(folder: Path) -> Path:
    """Write an archive with a million members."""
    path = archive(state_dict())(folder)
    content = path.read_bytes()
    directory, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    entry = content[directory : content.index(b"PK\x01\x02", directory + 1)]
    size = len(entry) * 10**6
    closing = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, size, directory, 0)
    with path.open("wb") as file:
        file.write(content[:directory])
        for _ in range(1000):
            file.write(entry * 1000)
        file.write(closing)
    assert end
    return path


def nested_tuples(levels: int, width: int = 3) -> bytes:
    """Return a tuple of the same tuple, and so on: width to the power of levels, when printed."""
    keep = pickle.BINPUT + b"\x00" + pickle.POP
    content = text("x") + keep
    for _ in range(levels):
        content += tupled(*[pickle.BINGET + b"\x00"] * width) + keep
    return content + pickle.BINGET + b"\x00"


def shared_modules(levels: int) -> bytes:
    """Return a TorchScript module that holds another twice, and so on."""
    content = named("__torch__", "M") + pickle.EMPTY_TUPLE + pickle.NEWOBJ + pickle.EMPTY_DICT + item(tensor(), "w")
    content += pickle.BUILD + pickle.BINPUT + b"\x00"
    for _ in range(levels):
        content += named("__torch__", "M") + pickle.EMPTY_TUPLE + pickle.NEWOBJ + pickle.EMPTY_DICT
        content += item(pickle.BINGET + b"\x00", "a") + item(pickle.BINGET + b"\x00", "b")
        content += pickle.BUILD + pickle.BINPUT + b"\x00"
    return b"\x80\x02" + content + pickle.STOP


def many_wide_tensors() -> bytes:
    """Return tensors that share one storage of 2 MB, 25,000 times."""
    content = pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + storage(count=500_000) + pickle.BINPUT + b"\x00" + pickle.POP
    one = tensor((500_000,), (1,), of=pickle.BINGET + b"\x00")
    return content + b"".join(item(one, f"weight.{index}") for index in range(10_000)) + pickle.STOP


_NONE_SHAPE = tupled(pickle.NONE, number(3))
_FLOATS = np.zeros(625_000, np.float32).tobytes()
_COLLISIONS = b"".join(number((2**61 - 1) * index) + pickle.NONE for index in range(60_000))
_STATE = pickle.EMPTY_DICT + item(number(1), "attribute") + pickle.BUILD
_DTYPE_STATE = tupled(number(3), text(">"), pickle.NONE * 3, number(-1) * 2, number(0)) + pickle.BUILD

FILES = [
    Hostile("BUILD on a dtype", archive(state_dict(item(named("torch", "BFloat16Storage") + _DTYPE_STATE))), ""),
    Hostile("BUILD on a function", archive(state_dict(item(named("torch._utils", "_rebuild_tensor_v2") + _STATE))), ""),
    Hostile("BUILD on a class", archive(state_dict(item(named("collections", "OrderedDict") + _STATE))), ""),
    Hostile("BUILD on a tensor", archive(state_dict(item(tensor() + _STATE))), ""),
    Hostile("BUILD on the state dict", archive(state_dict(_STATE)), ""),
    Hostile("a number in LONG_BINPUT", archive(state_dict(pickle.LONG_BINPUT + b"\xff\xff\xff\xff")), ""),
    Hostile("a number in PUT", archive(state_dict(b"p" + b"9" * 4000 + b"\n"))),
    Hostile("a number of 2 million digits", archive(state_dict(b"L" + b"9" * 2 * 10**6 + b"L\n"))),
    Hostile("ten million empty lists", archive(b"\x80\x02(" + b"]" * 10_000_000 + b"l.")),
    Hostile("a memo of a million values", archive(b"\x80\x04]" + b"\x94" * 10_000_000 + b".")),
    Hostile("keys of one hash", archive(state_dict(item(b"}(" + _COLLISIONS + b"u"))), ""),
    Hostile("a zip bomb in data.pkl", archive(b"\x80\x02]" + b"]" * 10**8, method=zipfile.ZIP_DEFLATED)),
    Hostile("a data.pkl of 100 MB", archive(text("x" * 10**8))),
    Hostile("an expanded tensor", archive(state_dict(weight=tensor((3000, 1000, 3000), (0, 0, 0))), values=_FLOATS)),
    Hostile("one storage 10,000 times", archive(many_wide_tensors(), values=np.zeros(500_000, np.float32).tobytes())),
    Hostile("a length of 2**63", archive(state_dict(weight=tensor((2**63, 2), (0, 0))))),
    Hostile("an offset of 2**80", archive(state_dict(weight=tensor(offset=number(2**80))))),
    Hostile("a shape of None", archive(state_dict(weight=tensor(_NONE_SHAPE)))),
    Hostile("a shape that is a number", archive(state_dict(weight=tensor(number(3))))),
    Hostile("a shape of floats", archive(state_dict(weight=tensor(tupled(b"G" + struct.pack(">d", 2.0)), (1,))))),
    Hostile("a shape of 1,000 axes", archive(state_dict(weight=tensor((1,) * 1000, (1,) * 1000)))),
    Hostile("a tensor of a number", archive(state_dict(weight=tensor(of=number(3))))),
    Hostile("a nested persistent id", archive(state_dict(item(nested_tuples(23) + pickle.BINPERSID)))),
    Hostile("a nested persistent kind", archive(state_dict(item(tupled(nested_tuples(23), *[number(1)] * 3) + b"Q")))),
    Hostile("a nested storage key", archive(state_dict(weight=tensor(of=storage(nested_tuples(23)))))),
    Hostile("nested tuples as keys", archive(state_dict(item(b"}" + nested_tuples(40) + number(1) + b"s"))), ""),
    Hostile("lists nested deeply", archive(b"\x80\x02" + b"](" * 400_000 + b"." * 2)),
    Hostile("modules on 2**39 paths", archive(shared_modules(39))),
    Hostile("modules nested deeply", archive(shared_modules(2000))),
    Hostile("a key that is not text", archive(b"\x80\x02}" + number(7) + tensor() + b"s."), ""),
    Hostile("a tensor name with escapes", archive(state_dict(item(tensor(), "\x1b[2J\x1b]0;owned\x07")))),
    Hostile("a tensor name with lines", archive(state_dict(item(tensor(), "a\nclip-zoo: all is well\r")))),
    Hostile("a tensor name of 1 MB", archive(state_dict(item(tensor(), "x" * 10**6)))),
    Hostile("a tensor name of a lone surrogate", archive(state_dict(item(tensor(), "\ud800")))),
    Hostile("a tensor name that turns text around", archive(state_dict(item(tensor(), "\u202eabc")))),
    Hostile("a class name with escapes", archive(b"\x80\x02cos\n\x1b[2Jsystem\n(tR.")),
    Hostile("a class name of 10 MB", archive(b"\x80\x02cos\n" + b"x" * 10**7 + b"\n(tR.")),
    Hostile("a storage key with escapes", archive(state_dict(weight=tensor(of=storage(text("\x1b[2J")))))),
    Hostile("an unknown extension", archive(state_dict(item(b"\x82\x01")))),
    Hostile("a buffer", archive(state_dict(item(b"\x97")))),
    Hostile("an encrypted archive", encrypted),
    Hostile("a broken compression", broken_deflate),
    Hostile("a directory of a million members", huge_directory),
    Hostile("a text as a state dict", archive(text("state_dict") + b".")),
    Hostile("an old file of 100 MB in one text", legacy(text("x" * 10**8) + b".")),
    Hostile("an old file without storages", legacy(state_dict(), pickle.dumps(["0"], 2), rest=b"\xff" * 8)),
    Hostile("an old file whose keys are a number", legacy(state_dict(), pickle.dumps(5, 2))),
    Hostile("an old file whose keys are lists", legacy(state_dict(), pickle.dumps([["0"]], 2))),
    Hostile("an old file of a nested start", lambda folder: _write(folder, b"\x80\x02" + nested_tuples(30) + b".")),
]


def _write(folder: Path, content: bytes) -> Path:
    path = folder / "pytorch_model.bin"
    path.write_bytes(content)
    return path
