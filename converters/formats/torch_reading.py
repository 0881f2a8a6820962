"""PyTorch's files (`torch.save`), read without PyTorch and without running code from a pickle.

A file contains a pickle and the raw storages of its tensors: since PyTorch 1.6 in a zip archive, before that
concatenated in one file. The pickle in OpenAI's TorchScript archives contains modules. `PickleWalk` supports only
tensors, plain containers and modules without their code. Any other object that a training script saved becomes a
`Made`. Nothing is imported or called, so a file cannot run code.
"""

from __future__ import annotations

import zipfile
from io import BytesIO
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from clip_core.hub.printing import shortened
from converters.formats.mapped import MappedFile
from converters.formats.pickle_walk import LARGEST_PICKLE, Made, Name, PickleWalk
from converters.formats.torch_storages import Storage, StoredTensor
from converters.formats.torch_writing import STORAGE_DTYPES
from converters.tensors import check_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from converters.tensors import TensorEntry

# The first pickle in a file from before PyTorch 1.6.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

# The storages of the pickle, and the dtypes of tensors in an untyped one, by full name.
_STORAGES = {f"torch.{name}": dtype for name, dtype in STORAGE_DTYPES.items()}
_STORAGES["torch.storage.UntypedStorage"] = np.dtype(np.uint8)
_UNTYPED = {f"torch.{kind}": np.dtype(kind) for kind in ("uint16", "uint32", "uint64")}
_UNTYPED |= {f"torch.{kind}": np.dtype(getattr(ml_dtypes, kind)) for kind in ("float8_e4m3fn", "float8_e5m2")}

# The keys under which training scripts save a state dict, and how deep one may be nested.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_MOST_WRAPPERS = 3

# The local header of a zip member: 30 bytes, then its name and extra field, whose lengths are at 26 and 28.
_LOCAL_HEADER_SIZE, _LOCAL_HEADER_LENGTHS = 30, slice(26, 30)
_ENCRYPTED = 1  # among a member's flags

# Before each storage of an old file: the number of its values.
_COUNT_SIZE = 8

# TorchScript's markers of typed lists, in torch.jit._pickle.
_TYPED = ["build_intlist", "build_tensorlist", "build_doublelist", "build_boollist", "build_tensor_from_id"]
_TYPED += ["restore_type_tag"]


# Errors from a damaged file: zipfile raises NotImplementedError for an unknown compression.
_DAMAGED = (UnpicklingError, zipfile.BadZipFile, LookupError, AttributeError, TypeError, RuntimeError, OSError)

# Modules of a TorchScript archive may share submodules; the names of the tensors multiply at each level.
_MOST_MODULES, _DEEPEST_MODULE = 50_000, 40

# Bytes that zipfile may read at once: the archive's directory, with about 100 bytes for each member.
_LARGEST_DIRECTORY = 2**22


def read(path: Path) -> dict[str, TensorEntry]:
    """Return the tensors of a state dict, or of a TorchScript module.

    The state dict may be nested under the keys of `_WRAPPERS`. Values other than tensors are ignored.

    Raises:
        ValueError: the file is not PyTorch's, is truncated, or contains no state dict.
    """
    try:
        mapped = MappedFile(path)
        value = _read_zip(path, mapped) if zipfile.is_zipfile(path) else _read_legacy(mapped)
    except _DAMAGED as error:
        raise ValueError(f"not a complete file of PyTorch weights ({error}); download or save it again") from error
    tensors = dict(_attributes(value)) if _is_module(value) else _state_dict(value, _MOST_WRAPPERS)
    if tensors is None:
        raise ValueError(f"it contains {_described(value)}, but must contain a state dict")
    entries = {name: tensor.entry(name) for name, tensor in tensors.items()}
    check_sizes(entries, mapped.size)
    return entries


def _state_dict(value: Any, depth: int) -> Mapping[str, StoredTensor] | None:
    """Return the tensors of the innermost wrapped dict that has any, otherwise those of `value`; None if it has none.

    An empty dict is a state dict without tensors.
    """
    if not isinstance(value, dict):
        return None
    for wrapper in _WRAPPERS if depth else ():
        inner = _state_dict(value.get(wrapper), depth - 1)
        if inner:
            return inner
    tensors = {name: tensor for name, tensor in value.items() if isinstance(tensor, StoredTensor)}
    return tensors if tensors or not any(map(_full_name, value.values())) else None


def _full_name(value: Any) -> str:
    """Return the full name of a class or function in the pickle, or of an object's class; otherwise an empty string."""
    name = value.name if isinstance(value, Made) else value
    return name.full_name if isinstance(name, Name) else ""


def _described(value: Any) -> str:
    """Describe the value found instead of a state dict."""
    inner = value.values() if isinstance(value, dict) else [value]
    names = [name for item in inner if (name := _full_name(item))]
    if names:
        return f"{names[0]}, which is not a tensor; it was not loaded because that could run code"
    return "a single tensor" if isinstance(value, StoredTensor) else f"a {type(value).__name__}"


class _Directory:
    """A file for zipfile that reads no more than an archive's directory at once."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, size: int = -1) -> bytes:
        """Read like a file.

        Raises:
            ValueError: the size is larger than that of any directory.
        """
        if size > _LARGEST_DIRECTORY:
            raise ValueError(f"the archive's directory takes {size} bytes; expected at most {_LARGEST_DIRECTORY}")
        content: bytes = self._file.read(size if size >= 0 else _LARGEST_DIRECTORY)
        return content


def _read_zip(path: Path, mapped: MappedFile) -> Any:
    with path.open("rb") as file, zipfile.ZipFile(_Directory(file)) as archive:
        members = {info.filename: info for info in archive.infolist()}
    pickles = [name for name in members if name.endswith("/data.pkl")]
    if not pickles:
        raise ValueError("the archive has no data.pkl")
    folder = pickles[0].removesuffix("data.pkl")

    def place(name: str) -> tuple[int, int]:
        """Return the start and the size of a member."""
        info = members[name]
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED:
            raise ValueError(f"{name} is compressed or encrypted, which PyTorch does not support; save it again")
        header = mapped.part(info.header_offset, info.header_offset + _LOCAL_HEADER_SIZE)
        start = info.header_offset + _LOCAL_HEADER_SIZE + int(header[_LOCAL_HEADER_LENGTHS].view("<u2").sum())
        mapped.check(start + info.file_size)
        return start, info.file_size

    def attach(storage: Storage) -> None:
        storage.start, storage.size = place(f"{folder}data/{storage.key}")
        storage.file = mapped

    start, size = place(pickles[0])
    if size > LARGEST_PICKLE:
        raise ValueError(f"its data.pkl has {size} bytes; expected at most {LARGEST_PICKLE}")
    return _walk(attach).load(BytesIO(mapped.part(start, start + size).tobytes()))


def _read_legacy(mapped: MappedFile) -> Any:
    storages: dict[str, Storage] = {}

    def remember(storage: Storage) -> None:
        storages[storage.key] = storage

    place = 0

    def load(on_storage: Callable[[Storage], None] | None = None) -> Any:
        """Load the next of the file's pickles, at `place`."""
        nonlocal place
        file = BytesIO(mapped.part(place, min(place + LARGEST_PICKLE, mapped.size)).tobytes())
        value = _walk(on_storage).load(file)
        place += file.tell()
        return value

    magic = load()
    if magic != _LEGACY_MAGIC:
        raise ValueError(f"expected the start of a PyTorch file, but found {_described(magic)}")
    load()  # the protocol's version
    load()  # byte order and type sizes of the writer's machine
    value = load(remember)
    keys = load()
    for key in keys if type(keys) is list else ():
        count = int.from_bytes(mapped.part(place, place + _COUNT_SIZE).tobytes(), "little")
        storage = storages[key]
        storage.file, storage.start, storage.size = mapped, place + _COUNT_SIZE, count * storage.dtype.itemsize
        place = storage.start + storage.size
        if place > mapped.size:
            raise ValueError(f"it ends inside the storage {key}")
    return value


def _is_module(value: Any) -> bool:
    return isinstance(value, Made) and value.name.module.startswith("__torch__")


def _attributes(module: Made) -> Iterator[tuple[str, StoredTensor]]:
    """Yield the tensors of a module and its submodules, by their names in the state dict.

    Raises:
        ValueError: the modules are nested too deeply, or are too many.
    """
    left = [("", module)]
    for _ in range(_MOST_MODULES):
        if not left:
            return
        prefix, module = left.pop()
        if prefix.count(".") > _DEEPEST_MODULE:
            break
        inner = []
        for name, value in module.attributes.items():
            if isinstance(value, StoredTensor):
                yield f"{prefix}{name}", value
            elif _is_module(value):
                inner.append((f"{prefix}{name}.", value))
        left += reversed(inner)
    raise ValueError(
        f"its modules of PyTorch's TorchScript contain each other; expected at most {_MOST_MODULES}, nested "
        f"{_DEEPEST_MODULE} deep"
    )


def _walk(on_storage: Callable[[Storage], None] | None = None) -> PickleWalk:
    """Return a walk that builds tensors, and reports each new storage."""
    storages: dict[str, Storage] = {}

    def refer(reference: Any) -> Any:
        kind, found, key = reference[:3] if type(reference) is tuple and len(reference) > 2 else (None,) * 3
        if kind == "module" and isinstance(found, Name):  # before PyTorch 1.6: a class with its source code
            return found
        dtype = _STORAGES.get(found.full_name) if isinstance(found, Name) else None
        if kind != "storage" or dtype is None or on_storage is None or type(key) is not str:
            raise ValueError("it refers to an object that is not a storage")
        if key not in storages:
            storages[key] = Storage(key, dtype)
            on_storage(storages[key])
        if storages[key].dtype != dtype:
            raise ValueError(f"it refers to the storage {key} by two dtypes")
        return storages[key]

    def with_attributes(rebuild: Any, _: Any, arguments: Any, *__: Any) -> Any:
        """Return a tensor to which a program added attributes; PyTorch also stores its own subclasses this way."""
        tensor = walk.call(rebuild, arguments)
        if not isinstance(tensor, StoredTensor):
            raise ValueError("it contains a tensor of an unsupported kind; save dense tensors")  # noqa: TRY004
        return tensor

    def check_name(name: Name) -> None:
        is_known = (name.module, name.name) in makers
        if name.module == "torch._utils" and name.name.startswith("_rebuild") and not is_known:
            raise ValueError(f"it contains a tensor of an unsupported kind ({name.full_name}); save dense tensors")

    makers: dict[tuple[str, str], Callable[..., Any]] = {
        ("collections", "OrderedDict"): _ordered_dict,
        ("torch._utils", "_rebuild_tensor_v2"): lambda *stated: StoredTensor(*stated[:4]),
        ("torch._utils", "_rebuild_tensor_v3"): _of_dtype,
        ("torch._utils", "_rebuild_parameter"): _first,
        ("torch._utils", "_rebuild_parameter_with_state"): _first,
        ("torch._tensor", "_rebuild_from_type_v2"): with_attributes,
    }
    makers |= {("torch.jit._pickle", name): _first for name in _TYPED}
    walk = PickleWalk(makers, refer, check_name)
    return walk


def _ordered_dict(pairs: Any = (), *_: Any) -> dict[str, Any]:
    return {key: value for key, value in pairs if type(key) is str}


def _of_dtype(storage: Any, offset: Any, shape: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Any, *_: Any) -> Any:
    """Return a tensor of a dtype that has no storage of its own, such as float8."""
    name = dtype.full_name if isinstance(dtype, Name) else str(dtype)
    if name not in _UNTYPED:
        raise ValueError(f"it contains a tensor of an unsupported dtype ({shortened(name)}); save it in another")
    return StoredTensor(storage, offset, shape, stride, _UNTYPED[name])


def _first(value: Any, *_: Any) -> Any:
    return value
