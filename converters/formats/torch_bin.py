"""PyTorch's files (`torch.save`), read without PyTorch and without ever running what a pickle says.

A file is a pickle whose tensors stand beside it as raw storages: since PyTorch 1.6 in a zip archive, before that one
behind another in the same file. The pickle is read by an unpickler that knows tensors and plain containers and
nothing else, so that no file can run code.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import ml_dtypes
import numpy as np

from converters.tensors import TensorEntry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_STORAGE_DTYPES = {
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

# The first pickle in a file of before PyTorch 1.6.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

# The local header of a zip member: 30 bytes, then its name and extra field, whose lengths stand at 26 and 28.
_LOCAL_HEADER_SIZE, _LOCAL_HEADER_LENGTHS = 30, slice(26, 30)


@dataclass
class _Storage:
    """A storage that the pickle speaks of; `data` gives its bytes, once they are known."""

    key: str
    dtype: np.dtype
    data: Callable[[], np.ndarray] | None = None


def read(path: Path) -> dict[str, TensorEntry]:
    """The tensors of a state dict; one nested under "state_dict" or "model" is found there.

    Raises:
        ValueError: the file is not one of PyTorch's, is cut short, or holds something other than tensors.
    """
    try:
        value = _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
    except (
        pickle.UnpicklingError,
        EOFError,
        KeyError,
        IndexError,
        AttributeError,
        TypeError,
        zipfile.BadZipFile,
    ) as error:
        raise ValueError(f"not a whole file of PyTorch weights ({error}); download or save it again") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(value, dict) and isinstance(value.get(wrapper), dict):
            value = value[wrapper]
    if not isinstance(value, dict):
        raise ValueError(f"it holds a {type(value).__name__}; a state dict is wanted")  # noqa: TRY004  the file is wrong
    return {name: tensor for name, tensor in value.items() if isinstance(tensor, TensorEntry)}


def _read_zip(path: Path) -> Any:
    mapped = np.memmap(path, mode="c")
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if not pickles:
            raise ValueError("the archive holds no data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}constants.pkl" in archive.namelist():
            raise ValueError("it is a TorchScript archive, not a state dict")
        starts = {info.filename: info for info in archive.infolist()}

        def attach(storage: _Storage) -> None:
            info = starts[f"{folder}data/{storage.key}"]
            if info.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{info.filename} is compressed, which PyTorch never does")
            lengths = mapped[info.header_offset :][_LOCAL_HEADER_LENGTHS].view("<u2")
            start = info.header_offset + _LOCAL_HEADER_SIZE + int(lengths.sum())
            storage.data = lambda: mapped[start : start + info.file_size]

        return _Unpickler(io.BytesIO(archive.read(pickles[0])), attach).load()


def _read_legacy(path: Path) -> Any:
    storages: dict[str, _Storage] = {}

    def remember(storage: _Storage) -> None:
        storages[storage.key] = storage

    with path.open("rb") as file:
        if _Unpickler(file).load() != _LEGACY_MAGIC:
            raise ValueError("it does not begin as PyTorch's files do")
        _Unpickler(file).load()  # the protocol's version
        _Unpickler(file).load()  # byte order and sizes of the machine that wrote it
        value = _Unpickler(file, remember).load()
        mapped = np.memmap(path, mode="c")
        for key in _Unpickler(file).load():
            count = int.from_bytes(file.read(8), "little")
            start, size = file.tell(), count * storages[key].dtype.itemsize
            if start + size > len(mapped):
                raise ValueError(f"it ends inside the storage {key}")
            storages[key].data = lambda start=start, size=size: mapped[start : start + size]
            file.seek(size, io.SEEK_CUR)
    return value


class _Unpickler(pickle.Unpickler):
    """Admits tensors, their storages, and plain containers."""

    def __init__(self, file: BinaryIO | io.BytesIO, on_storage: Callable[[_Storage], None] | None = None) -> None:
        super().__init__(file, encoding="utf-8")
        self.on_storage = on_storage
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGE_DTYPES:
            return _STORAGE_DTYPES[name]
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_parameter"): _parameter,
        }
        if (module, name) not in known:
            raise ValueError(f"it holds {module}.{name}, which is no tensor; such a file could run code and is refused")
        return known[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, *_ = pid
        if kind != "storage" or not isinstance(dtype, np.dtype) or self.on_storage is None:
            raise ValueError(f"it refers to {pid!r}, which is no storage")
        if key not in self.storages:
            self.storages[key] = _Storage(key, dtype)
            self.on_storage(self.storages[key])
        return self.storages[key]


def _tensor(storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> TensorEntry:
    def load() -> np.ndarray:
        if storage.data is None:
            raise ValueError(f"the storage {storage.key} is not in the file")
        values = storage.data().view(storage.dtype)[offset:]
        last = sum((length - 1) * step for length, step in zip(shape, stride, strict=True))
        if 0 not in shape and last >= len(values):
            raise ValueError(f"the storage {storage.key} is too short for a tensor of shape {shape}")
        strides = tuple(step * storage.dtype.itemsize for step in stride)
        return np.lib.stride_tricks.as_strided(values, shape, strides)

    return TensorEntry(tuple(shape), storage.dtype, load)


def _parameter(data: TensorEntry, *_: Any) -> TensorEntry:
    return data
