"""PyTorch's files (`torch.save`), read without PyTorch and without running code from a pickle.

A file is a pickle with its tensors as raw storages: in a zip archive since PyTorch 1.6, and concatenated in one file
before that. The pickle in OpenAI's TorchScript archives contains modules. The unpickler admits only tensors, plain
containers and modules without their code, so a file cannot run code.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from converters.formats.mapped import MappedFile
from converters.formats.torch_writing import STORAGE_DTYPES, write
from converters.tensors import TensorEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["read", "write"]

# The first pickle in a file from before PyTorch 1.6.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

# The local header of a zip member: 30 bytes, then its name and extra field, whose lengths are at 26 and 28.
_LOCAL_HEADER_SIZE, _LOCAL_HEADER_LENGTHS = 30, slice(26, 30)


@dataclass
class _Storage:
    """A storage that the pickle refers to, and the position of its bytes once known."""

    key: str
    dtype: np.dtype
    file: MappedFile | None = None
    start: int = 0
    size: int = 0

    def of(self, count: int) -> MappedFile:
        """Return the file, if the storage is in it and has at least `count` values.

        Raises:
            ValueError: the storage is missing or too small.
        """
        if self.file is None:
            raise ValueError(f"the storage {self.key} is missing from the file")
        there = self.size // self.dtype.itemsize
        if count > there:
            raise ValueError(f"the storage {self.key} has {there} values, but a tensor in it needs {count}")
        return self.file


def read(path: Path) -> dict[str, TensorEntry]:
    """Return the tensors of a state dict, possibly nested under "state_dict" or "model", or of a TorchScript module.

    Raises:
        ValueError: the file is not PyTorch's, is truncated, or contains anything but tensors.
    """
    try:
        value = _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
        if isinstance(value, _ScriptModule):
            return dict(_attributes(value, ""))
    except (
        pickle.UnpicklingError,
        EOFError,
        KeyError,
        IndexError,
        AttributeError,
        TypeError,
        RecursionError,
        zipfile.BadZipFile,
    ) as error:
        raise ValueError(f"not a complete file of PyTorch weights ({error}); download or save it again") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(value, dict) and isinstance(value.get(wrapper), dict):
            value = value[wrapper]
    if not isinstance(value, dict):
        raise ValueError(f"it contains a {type(value).__name__}, but must contain a state dict")  # noqa: TRY004  the file is wrong
    return {name: tensor for name, tensor in value.items() if isinstance(tensor, TensorEntry)}


def _read_zip(path: Path) -> Any:
    mapped = MappedFile(path)
    try:
        return _read_archive(path, mapped)
    except (NotImplementedError, OSError) as error:  # an offset before the file's start, or an unknown compression
        raise ValueError(f"not a complete file of PyTorch weights ({error}); download or save it again") from error


def _read_archive(path: Path, mapped: MappedFile) -> Any:
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if not pickles:
            raise ValueError("the archive has no data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        starts = {info.filename: info for info in archive.infolist()}

        def attach(storage: _Storage) -> None:
            info = starts[f"{folder}data/{storage.key}"]
            if info.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{info.filename} is compressed, which PyTorch never does")
            header = mapped.part(info.header_offset, info.header_offset + _LOCAL_HEADER_SIZE)
            start = info.header_offset + _LOCAL_HEADER_SIZE + int(header[_LOCAL_HEADER_LENGTHS].view("<u2").sum())
            storage.file, storage.start, storage.size = mapped, start, info.file_size

        return _Unpickler(io.BytesIO(archive.read(pickles[0])), attach).load()


def _read_legacy(path: Path) -> Any:
    storages: dict[str, _Storage] = {}

    def remember(storage: _Storage) -> None:
        storages[storage.key] = storage

    with path.open("rb") as file:
        if _Unpickler(file).load() != _LEGACY_MAGIC:
            raise ValueError("it does not begin like PyTorch's files")
        _Unpickler(file).load()  # the protocol's version
        _Unpickler(file).load()  # byte order and sizes of the machine that wrote it
        value = _Unpickler(file, remember).load()
        mapped = MappedFile(path)
        for key in _Unpickler(file).load():
            count = int.from_bytes(file.read(8), "little")
            storage, start = storages[key], file.tell()
            storage.file, storage.start, storage.size = mapped, start, count * storage.dtype.itemsize
            if start + storage.size > mapped.size:
                raise ValueError(f"it ends inside the storage {key}")
            file.seek(storage.size, io.SEEK_CUR)
    return value


class _ScriptModule:
    """A module of a TorchScript archive, whose attributes the unpickler fills in."""


def _attributes(module: _ScriptModule, prefix: str) -> Iterator[tuple[str, TensorEntry]]:
    """Yield the tensors of a module and its submodules, by their names in the state dict."""
    for name, value in vars(module).items():
        if isinstance(value, TensorEntry):
            yield f"{prefix}{name}", value
        elif isinstance(value, _ScriptModule):
            yield from _attributes(value, f"{prefix}{name}.")


class _Unpickler(pickle.Unpickler):
    """An unpickler that admits only tensors, their storages and plain containers."""

    def __init__(self, file: BinaryIO | io.BytesIO, on_storage: Callable[[_Storage], None] | None = None) -> None:
        super().__init__(file, encoding="utf-8")
        self.on_storage = on_storage
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in STORAGE_DTYPES:
            return STORAGE_DTYPES[name]
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_parameter"): _parameter,
        }
        if module.startswith("__torch__"):
            return _ScriptModule
        if module == "torch.jit._pickle":
            return _first  # marks lists of one type
        if (module, name) not in known:
            raise ValueError(f"it contains {module}.{name}, which is not a tensor; loading it could run code")
        return known[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, *_ = pid
        if kind != "storage" or not isinstance(dtype, np.dtype) or self.on_storage is None:
            raise ValueError(f"it refers to {pid!r}, which is not a storage")
        if key not in self.storages:
            self.storages[key] = _Storage(key, dtype)
            self.on_storage(self.storages[key])
        return self.storages[key]


def _tensor(storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> TensorEntry:
    numbers = (offset, *shape, *stride)
    # A negative value would lead out of the storage, into the memory before it.
    if len(shape) != len(stride) or not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ValueError(f"it contains a tensor of the impossible shape {shape}, stride {stride} and offset {offset}")

    width = storage.dtype.itemsize
    last = sum((length - 1) * step for length, step in zip(shape, stride, strict=True))
    start, count = offset * width, 0 if 0 in shape else last + 1
    strides = tuple(step * width for step in stride)

    def load() -> np.ndarray:
        file = storage.of(offset + count)
        values = file.part(storage.start + start, storage.start + start + count * width).view(storage.dtype)
        return np.lib.stride_tricks.as_strided(values, shape, strides)

    def fill(array: np.ndarray) -> None:
        storage.of(offset + count).read_into(array, storage.start + start)

    return TensorEntry(tuple(shape), storage.dtype, load, fill if _in_order(shape, stride) else None)


def _in_order(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Return True if the strides are those of a contiguous array."""
    steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return all(step == found for length, step, found in zip(shape, steps, stride, strict=True) if length > 1)


def _parameter(data: TensorEntry, *_: Any) -> TensorEntry:
    return data


def _first(value: Any, *_: Any) -> Any:
    return value
