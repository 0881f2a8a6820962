"""PyTorch's files, written without PyTorch, as `torch.save` writes a dict of tensors.

A file is a zip archive of a pickle, `data.pkl`, and the bytes of each tensor, uncompressed and aligned, so that
`torch.load(mmap=True)` works. The pickle is assembled by hand, because Python's pickler would import the names in it.

OpenAI's own archives are TorchScript, which only PyTorch can write; `clip.load` also reads a plain state dict.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
from typing import TYPE_CHECKING, BinaryIO

import ml_dtypes
import numpy as np

from converters.tensors import TensorEntry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


STORAGE_DTYPES = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}


_STORAGES = {dtype: name for name, dtype in STORAGE_DTYPES.items()}

# The alignment of each tensor's bytes, as in `torch.save`.
_ALIGNMENT = 64

# The local header of a zip member is 30 bytes and its name, then extra fields: the one of members of 4 GB and more, and
# PyTorch's padding, whose identifier and length take 4 bytes.
_LOCAL_HEADER, _ZIP64_FIELD, _PADDING_HEAD = 30, 20, 4


def write(path: Path, tensors: Mapping[str, TensorEntry]) -> None:
    """Write a state dict, one tensor in memory at a time; see `clip_core.hub.files.staged` for doing it atomically.

    Raises:
        ValueError: PyTorch's files lack a storage for a dtype.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in _STORAGES:
            known = ", ".join(dtype.name for dtype in _STORAGES)
            raise ValueError(f"{name} has dtype {tensor.dtype}, which is not one of {known}")
    folder = path.name.partition(".")[0]
    with path.open("wb") as file, zipfile.ZipFile(file, "w") as archive:
        _write_member(file, archive, f"{folder}/data.pkl", _pickled(tensors))
        _write_member(file, archive, f"{folder}/byteorder", b"little")
        for number, tensor in enumerate(tensors.values()):
            content = np.ascontiguousarray(tensor.load()).reshape(-1).view(np.uint8).data
            _write_member(file, archive, f"{folder}/data/{number}", content)
        _write_member(file, archive, f"{folder}/version", b"3\n")


def write_openai(path: Path, tensors: Mapping[str, TensorEntry]) -> None:
    """Write a state dict that OpenAI's `clip.load` reads; three numbers beside the weights mark it.

    Args:
        path: the file.
        tensors: by their names in OpenAI's layout.
    """
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    numbers: dict[str, int] = {}
    if "visual.conv1.weight" in shapes and "visual.positional_embedding" in shapes:
        places, patch_size = shapes["visual.positional_embedding"][0], shapes["visual.conv1.weight"][-1]
        numbers["input_resolution"] = math.isqrt(places - 1) * patch_size
    if "positional_embedding" in shapes:
        numbers["context_length"] = shapes["positional_embedding"][0]
    if "token_embedding.weight" in shapes:
        numbers["vocab_size"] = shapes["token_embedding.weight"][0]
    write(path, {**tensors, **{name: _number(value) for name, value in numbers.items()}})


def _write_member(file: BinaryIO, archive: zipfile.ZipFile, name: str, content: bytes | memoryview) -> None:
    info = zipfile.ZipInfo(name)  # no timestamp, so that equal tensors give equal files
    info.file_size = len(content)
    is_large = info.file_size * 1.05 > zipfile.ZIP64_LIMIT  # as zipfile decides
    head = file.tell() + _LOCAL_HEADER + len(name) + _PADDING_HEAD + is_large * _ZIP64_FIELD
    padding = -head % _ALIGNMENT
    info.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
    with archive.open(info, "w") as member:
        member.write(content)


def _pickled(tensors: Mapping[str, TensorEntry]) -> bytes:
    """Return the pickle of `{name: tensor}`, in which each tensor refers to a storage by number."""
    out = io.BytesIO()
    out.write(pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.MARK)
    for number, (name, tensor) in enumerate(tensors.items()):
        strides = [int(np.prod(tensor.shape[axis + 1 :], dtype=np.int64)) for axis in range(len(tensor.shape))]
        storage = (
            _text("storage"),
            _global("torch", _STORAGES[tensor.dtype]),
            _text(str(number)),
            _text("cpu"),
            _integer(tensor.nbytes // tensor.dtype.itemsize),
        )
        arguments = (
            _tuple(*storage) + pickle.BINPERSID,
            _integer(0),  # offset in its storage
            _tuple(*map(_integer, tensor.shape)),
            _tuple(*map(_integer, strides)),
            pickle.NEWFALSE,  # requires_grad
            _global("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE,  # hooks
        )
        out.write(_text(name) + _global("torch._utils", "_rebuild_tensor_v2") + _tuple(*arguments) + pickle.REDUCE)
    out.write(pickle.SETITEMS + pickle.STOP)
    return out.getvalue()


def _text(text: str) -> bytes:
    encoded = text.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def _integer(number: int) -> bytes:
    if number < 2**31:
        return pickle.BININT + struct.pack("<i", number)
    encoded = pickle.encode_long(number)
    return pickle.LONG1 + bytes([len(encoded)]) + encoded


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _tuple(*items: bytes) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def _number(value: int) -> TensorEntry:
    array = np.array(value, np.int64)
    return TensorEntry(array.shape, array.dtype, lambda: array)
