"""PyTorch's files (`torch.save`), read without PyTorch and without running code from a pickle.

A file contains a pickle and the raw storages of its tensors: since PyTorch 1.6 in a zip archive, before that
concatenated in one file. The pickle in OpenAI's TorchScript archives contains modules. The unpickler supports only
tensors, plain containers and modules without their code. Any other object that a training script saved becomes a
`Placeholder`. Nothing is imported or called, so a file cannot run code.
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
from converters.formats.placeholders import name_of_placeholder, placeholder_named
from converters.formats.torch_writing import STORAGE_DTYPES
from converters.tensors import TensorEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# The first pickle in a file from before PyTorch 1.6.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

# The keys under which training scripts save a state dict, and how deep one may be nested.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_MOST_WRAPPERS = 3

# The local header of a zip member: 30 bytes, then its name and extra field, whose lengths are at 26 and 28.
_LOCAL_HEADER_SIZE, _LOCAL_HEADER_LENGTHS = 30, slice(26, 30)


@dataclass
class _Storage:
    """A storage that the pickle refers to, and the position of its bytes once that is known."""

    key: str
    dtype: np.dtype
    file: MappedFile | None = None
    start: int = 0
    size: int = 0

    def of(self, count: int) -> MappedFile:
        """Return the file, after checking that it contains the storage with at least `count` values.

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
    """Return the tensors of a state dict, or of a TorchScript module.

    The state dict may be nested under the keys of `_WRAPPERS`. Values other than tensors are ignored.

    Raises:
        ValueError: the file is not PyTorch's, is truncated, or contains no state dict.
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
    state_dict = _state_dict(value, _MOST_WRAPPERS)
    if state_dict is None:
        raise ValueError(f"it contains {_described(value)}, but must contain a state dict")
    return state_dict


def _state_dict(value: Any, depth: int) -> dict[str, TensorEntry] | None:
    """Return the tensors of the innermost wrapped dict that has any, otherwise those of `value`; None if it has none.

    An empty dict is a state dict without tensors.
    """
    if not isinstance(value, dict):
        return None
    for wrapper in _WRAPPERS if depth else ():
        inner = _state_dict(value.get(wrapper), depth - 1)
        if inner:
            return inner
    tensors = {name: entry for name, entry in value.items() if isinstance(entry, TensorEntry) and isinstance(name, str)}
    return tensors if tensors or not any(map(name_of_placeholder, value.values())) else None


def _described(value: Any) -> str:
    """Describe the value found instead of a state dict."""
    inner = value.values() if isinstance(value, dict) else [value]
    names = [name for item in inner if (name := name_of_placeholder(item))]
    if names:
        return f"{names[0]}, which is not a tensor; it was not loaded because that could run code"
    return f"a {type(value).__name__}"


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
                raise ValueError(f"{info.filename} is compressed, which PyTorch does not support")
            header = mapped.part(info.header_offset, info.header_offset + _LOCAL_HEADER_SIZE)
            start = info.header_offset + _LOCAL_HEADER_SIZE + int(header[_LOCAL_HEADER_LENGTHS].view("<u2").sum())
            storage.file, storage.start, storage.size = mapped, start, info.file_size

        return _Unpickler(io.BytesIO(archive.read(pickles[0])), attach).load()


def _read_legacy(path: Path) -> Any:
    storages: dict[str, _Storage] = {}

    def remember(storage: _Storage) -> None:
        storages[storage.key] = storage

    with path.open("rb") as file:
        magic = _Unpickler(file).load()
        if magic != _LEGACY_MAGIC:
            raise ValueError(f"expected the start of a PyTorch file, but found {_described(magic)}")
        _Unpickler(file).load()  # the protocol's version
        _Unpickler(file).load()  # byte order and type sizes of the writer's machine
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
    """An unpickler of tensors, their storages and plain containers; everything else becomes a placeholder."""

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
            ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
            ("torch._tensor", "_rebuild_from_type_v2"): _with_attributes,
        }
        if module.startswith("__torch__"):
            return _ScriptModule
        if module == "torch.jit._pickle":
            return _first  # TorchScript's marker of typed lists
        if module == "torch._utils" and name.startswith("_rebuild") and (module, name) not in known:
            raise ValueError(f"it contains a tensor of an unsupported kind ({module}.{name}); save dense tensors")
        return known.get((module, name)) or placeholder_named(module, name)

    def persistent_load(self, pid: Any) -> Any:
        kind, dtype, key, *_ = pid
        if kind == "module" and name_of_placeholder(dtype):  # before PyTorch 1.6: a class with its source code
            return dtype
        if kind != "storage" or not isinstance(dtype, np.dtype) or self.on_storage is None:
            raise ValueError(f"it refers to {pid!r}, which is not a storage")
        if key not in self.storages:
            self.storages[key] = _Storage(key, dtype)
            self.on_storage(self.storages[key])
        return self.storages[key]


def _tensor(storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> TensorEntry:
    numbers = (offset, *shape, *stride)
    # Negative values would lead to memory outside of the storage.
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


def _with_attributes(rebuild: Any, _: Any, arguments: tuple[Any, ...], *__: Any) -> TensorEntry:
    """Return a tensor to which a program added attributes; PyTorch also stores its own subclasses this way."""
    if rebuild not in (_tensor, _parameter):
        raise ValueError("it contains a tensor of an unsupported kind; save dense tensors")
    tensor: TensorEntry = rebuild(*arguments)
    return tensor


def _first(value: Any, *_: Any) -> Any:
    return value
