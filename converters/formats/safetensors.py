"""The safetensors format: eight bytes of header length, a JSON header, and the tensors.

The library checks the header. Tensors are memory-mapped here, whereas the library copies them. They are written one at
a time, whereas the library needs all of them in memory.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import ml_dtypes
import numpy as np

from clip_core.hub.files import unique
from converters.formats.mapped import MappedFile
from converters.tensors import TensorEntry, check_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U64": np.dtype(np.uint64),
    "U32": np.dtype(np.uint32),
    "U16": np.dtype(np.uint16),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_LENGTH_BYTES = 8
_LARGEST_HEADER = 2**22  # bytes; that of the largest CLIP has 150,000


def read(path: Path) -> dict[str, TensorEntry]:
    """Return the tensors of a file, memory-mapped. Metadata is ignored.

    Raises:
        ValueError: the file is not in the format, is truncated, or has a dtype that numpy lacks.
    """
    file = MappedFile(path)
    header = _checked_header(path)
    start = _LENGTH_BYTES + header.size
    entries = {name: _entry(name, tensor, file, start) for name, tensor in header.tensors.items()}
    check_sizes(entries, file.size)
    return entries


def write(path: Path, tensors: Mapping[str, TensorEntry]) -> None:
    """Write a file, one tensor in memory at a time; `clip_core.hub.files.staged` makes this atomic.

    Raises:
        ValueError: the format has no name for a dtype.
    """
    # Wide dtypes first, so that every tensor starts at a multiple of its item size.
    order = sorted(tensors, key=lambda name: -tensors[name].dtype.itemsize)
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}  # required by transformers
    offset = 0
    for name in order:
        tensor = tensors[name]
        if tensor.dtype not in _NAMES:
            raise ValueError(f"{name} has dtype {tensor.dtype}, which is not one of {', '.join(DTYPES)}")
        end = offset + tensor.nbytes
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % _LENGTH_BYTES)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(_LENGTH_BYTES, "little"))
        file.write(encoded)
        for name in order:
            file.write(np.ascontiguousarray(tensors[name].load()).reshape(-1).view(np.uint8).data)


def metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a file, such as the `format` that transformers requires."""
    return _checked_header(path).metadata


class _Header(NamedTuple):
    size: int
    tensors: dict[str, dict[str, Any]]
    metadata: dict[str, str]


def _checked_header(path: Path) -> _Header:
    from safetensors import SafetensorError, safe_open

    with path.open("rb") as file:
        size = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if _LARGEST_HEADER < size < path.stat().st_size:
        raise ValueError(f"its header has {size} bytes; expected at most {_LARGEST_HEADER}")
    try:
        with safe_open(path, framework="np"):  # checks lengths, offsets, gaps and the end of the file
            pass
    except SafetensorError as error:
        raise ValueError(f"not a complete safetensors file ({error}); download or save it again") from error
    with path.open("rb") as file:
        file.seek(_LENGTH_BYTES)
        tensors = json.loads(file.read(size), object_pairs_hook=unique)  # the library takes the last of equal names
    return _Header(size, tensors, tensors.pop("__metadata__", None) or {})


def _entry(name: str, tensor: dict[str, Any], file: MappedFile, data_start: int) -> TensorEntry:
    dtype = DTYPES.get(str(tensor["dtype"]))
    if dtype is None:
        raise ValueError(f"{name} has dtype {tensor['dtype']}, which is not one of {', '.join(DTYPES)}")
    start, end = (data_start + offset for offset in tensor["data_offsets"])
    shape = tuple(tensor["shape"])

    def load() -> np.ndarray:
        array: np.ndarray = file.part(start, end).view(dtype).reshape(shape)
        return array

    return TensorEntry(shape, dtype, load, lambda array: file.read_into(array, start))
