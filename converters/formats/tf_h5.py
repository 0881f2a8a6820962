"""`tf_model.h5`, as written by transformers' TensorFlow classes: HDF5 in the layout of Keras 2.

A single file has a group for each layer of the model (for CLIP, `clip`). The group's attribute `weight_names` lists its
tensors. A shard has only the tensors, listed in its attribute `layer_names`.
"""

from __future__ import annotations

import io
import math
import re
import zlib
from contextlib import contextmanager
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.hub.printing import shortened
from converters.formats.mapped import MappedFile
from converters.tensors import MOST_TENSORS, TensorEntry, check_sizes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import h5py
    from _typeshed import ReadableBuffer

DTYPES = tuple(np.dtype(name) for name in ("float64", "float32", "float16", "int64", "int32", "int8", "uint8", "bool"))

# The first part of every tensor's name is the model object, which readers skip. The next part, the layer, is `clip`
# except for the head of a classifier.
_MODEL, _LAYER, _HEAD = "tfclip_model", "clip", "classifier"

# HDF5 limits the size of attributes. Keras splits a longer one into several, with numbered names.
_LARGEST_ATTRIBUTE = 64512

_LARGEST_ITEM = 8  # bytes of a number
_LONGEST_PATH = 1000  # bytes
_SMALL, _RATIO = 2**16, 16  # a chunk may have _RATIO times the bytes of its file, or of a file of _SMALL bytes


def read(path: Path) -> dict[str, TensorEntry]:
    """Return the tensors of a single file or a shard; contiguous tensors are memory-mapped.

    Raises:
        ValueError: the file is not HDF5, is truncated, or has values that are not numbers in this file.
    """
    import h5py

    with _errors_in_words(), h5py.File(path, "r") as file:
        _check_links(file)
        return _entries(file, path)


def write(path: Path, tensors: Mapping[str, TensorEntry]) -> None:
    """Write a file, one tensor in memory at a time; `clip_core.hub.files.staged` makes this atomic.

    Args:
        path: the file. With a name such as `tf_model-00001-of-00002.h5`, it gets the different layout of a shard.
        tensors: by their names in TensorFlow's layout, such as "text_model/embeddings/token_embedding/weight".

    Raises:
        ValueError: HDF5 lacks a dtype.
    """
    import h5py

    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPES:
            raise ValueError(f"{name} has dtype {tensor.dtype}, which HDF5 lacks; convert it to float32 or float16")
    is_shard = re.search(r"-\d+-of-\d+\.", path.name) is not None
    # Values aligned to 64 bytes can be used in the mapped file without a copy.
    with _Target(path, "w+") as target:
        with h5py.File(target, "w", alignment_threshold=64, alignment_interval=64) as file:
            (_write_shard if is_shard else _write_single)(file, tensors)
        if target.error is not None:
            raise target.error


class _Target(io.FileIO):
    """A file that keeps the first error of writing instead of raising it.

    If a write fails, as on a full disk, HDF5 ends the process with a segmentation fault when it closes the file.

    Attributes:
        error: the error; None so far.
    """

    error: OSError | None = None

    def write(self, content: ReadableBuffer, /) -> int:
        """Write all bytes, unless a write has failed before."""
        left = memoryview(content).cast("B")
        size = len(left)
        try:
            while left and self.error is None:
                left = left[super().write(left) :]
        except OSError as error:
            self.error = error
        return size

    def truncate(self, size: int | None = None, /) -> int:
        """Set the size of the file, unless a write has failed before."""
        try:
            return super().truncate(size) if self.error is None else size or 0
        except OSError as error:
            self.error = error
            return size or 0


def _write_single(file: h5py.File, tensors: Mapping[str, TensorEntry]) -> None:
    layers: dict[str, list[str]] = {_LAYER: []}
    for name, tensor in tensors.items():
        layer = _HEAD if name.startswith(f"{_HEAD}/") else _LAYER
        full_name = name_in_index(name)
        layers.setdefault(layer, []).append(full_name)
        _write_tensor(file.require_group(layer), full_name, tensor)
    for layer, names in layers.items():
        _write_names(file.require_group(layer), "weight_names", names)
    _write_names(file.require_group("top_level_model_weights"), "weight_names", [])
    _write_names(file, "layer_names", list(layers))
    file.attrs["backend"] = "tensorflow"
    file.attrs["keras_version"] = "2.15.0"  # the version that defined this layout


def _write_shard(file: h5py.File, tensors: Mapping[str, TensorEntry]) -> None:
    names = {_name_in_shard(name): tensor for name, tensor in tensors.items()}
    for name, tensor in names.items():
        _write_tensor(file, name, tensor)
    _write_names(file, "layer_names", list(names))


def name_in_index(name: str) -> str:
    """Return the full name of a tensor, as in a single file and in the index of a sharded checkpoint."""
    return f"{_MODEL}/{_name_in_shard(name)}"


def _name_in_shard(name: str) -> str:
    """Return the name below the layer, with the suffix that TensorFlow gives a variable's first output."""
    return f"{name}:0" if name.startswith(f"{_HEAD}/") else f"{_LAYER}/{name}:0"


def _write_tensor(group: h5py.Group, name: str, tensor: TensorEntry) -> None:
    group.create_dataset(name, data=tensor.load(), shape=tensor.shape, dtype=tensor.dtype)


def _write_names(group: h5py.Group, attribute: str, names: list[str]) -> None:
    encoded = np.array([name.encode() for name in names], dtype="S" if names else "S1")
    count = -(-encoded.nbytes // _LARGEST_ATTRIBUTE)
    if count <= 1:
        group.attrs[attribute] = encoded
        return
    for number, piece in enumerate(np.array_split(encoded, count + 1)):
        group.attrs[f"{attribute}{number}"] = piece


@contextmanager
def _errors_in_words() -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, KeyError, TypeError, zlib.error) as error:
        raise ValueError(f"not a complete HDF5 file ({error}); download or save it again") from error


def _check_links(file: h5py.File) -> None:
    """Check that all names in a file lead to something in it, and that there are not too many.

    Raises:
        ValueError: one is a soft or an external link, or there are too many.
    """
    import h5py

    count = 0

    def fault(name: bytes, link: Any) -> str | None:
        """Return what is wrong with a link, which ends the visit. HDF5 lets no exception pass."""
        nonlocal count
        count += 1
        shown = shortened(name.decode("utf-8", "replace"))
        if count > MOST_TENSORS or len(name) > _LONGEST_PATH:
            return f"it has more than {MOST_TENSORS} tensors and groups, or one with a very long name ({shown})"
        is_link = link.type != h5py.h5l.TYPE_HARD
        return f"{shown} is a link, possibly out of the file; save the tensor itself" if is_link else None

    if (found := file.id.links.visit(fault, info=True)) is not None:
        raise ValueError(found)


def _entries(file: h5py.File, path: Path) -> dict[str, TensorEntry]:
    import h5py

    mapped = MappedFile(path)
    entries: dict[str, TensorEntry] = {}

    @cache
    def is_named(layer: str) -> bool:
        return any(attribute.startswith("weight_names") for attribute in file[layer].attrs)

    datasets: dict[str, h5py.Dataset] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            datasets[name] = item

    file.visititems(visit)
    for name, dataset in datasets.items():
        layer, _, rest = name.partition("/")
        entries[rest if is_named(layer) else name] = _entry(dataset, path, mapped)
    check_sizes(entries, mapped.size)
    return entries


def _entry(dataset: h5py.Dataset, path: Path, mapped: MappedFile) -> TensorEntry:
    _check_origin(dataset, mapped.size)
    name, shape, dtype, start = dataset.name, dataset.shape, dataset.dtype, dataset.id.get_offset()
    size = dataset.id.get_storage_size()
    if start is None or not dtype.isnative or size != dataset.size * dtype.itemsize:  # chunked or compressed
        return TensorEntry(shape, dtype.newbyteorder("="), lambda: _read_one(path, name, mapped))

    def load() -> np.ndarray:
        array: np.ndarray = mapped.part(start, start + size).view(dtype).reshape(shape)
        return array

    return TensorEntry(shape, dtype, load, lambda array: mapped.read_into(array, start))


def _check_origin(dataset: h5py.Dataset, file_size: int) -> None:
    """Check that a dataset has numbers that the file contains.

    HDF5 would read external storage and the sources of a virtual dataset from any file of this machine.
    """
    name, dtype = dataset.name, dataset.dtype
    if dataset.is_virtual or dataset.id.get_create_plist().get_external_count():
        raise ValueError(f"the values of {name} are in another file; save them in this one")
    if dataset.shape is None or dtype.kind not in "biuf" or dtype.itemsize > _LARGEST_ITEM:
        raise ValueError(f"{name} has dtype {dtype} and shape {dataset.shape}; expected an array of numbers")
    if dataset.size and not dataset.id.get_storage_size():
        raise ValueError(f"{name} has no values; save it again")
    if dataset.chunks is not None and math.prod(dataset.chunks) * dtype.itemsize > max(file_size, _SMALL) * _RATIO:
        raise ValueError(f"{name} has chunks of shape {dataset.chunks}, larger than the file; save it without chunks")


def _check_chunks(dataset: h5py.Dataset) -> None:
    """Check that no chunk of a compressed dataset expands beyond its size; HDF5 allocates whatever it expands to.

    Raises:
        ValueError: one does, or the dataset was written with a filter that cannot be checked.
        zlib.error: one is damaged.
    """
    from h5py import h5z

    options = dataset.id.get_create_plist()
    filters = [options.get_filter(number)[0] for number in range(options.get_nfilters())]
    known = (h5z.FILTER_SHUFFLE, h5z.FILTER_DEFLATE, h5z.FILTER_FLETCHER32)
    if filters != [one for one in known if one in filters]:
        raise ValueError(f"{dataset.name} is compressed in an unusual way; save it with gzip or without compression")
    if h5z.FILTER_DEFLATE not in filters:
        return
    size = math.prod(dataset.chunks) * dataset.dtype.itemsize
    starts = (range(0, length, step) for length, step in zip(dataset.shape, dataset.chunks, strict=True))
    for start in product(*starts):
        if not dataset.id.get_chunk_info_by_coord(start).size:  # never written
            continue
        left_out, stored = dataset.id.read_direct_chunk(start)  # a bit for each filter
        is_packed = not left_out >> filters.index(h5z.FILTER_DEFLATE) & 1
        if is_packed and len(zlib.decompressobj().decompress(stored, size + 1)) > size:
            raise ValueError(f"a chunk of {dataset.name} expands beyond its size of {size} bytes; save it again")


def _read_one(path: Path, name: str, mapped: MappedFile) -> np.ndarray:
    import h5py

    mapped.check_path()
    with _errors_in_words(), h5py.File(path, "r") as file:
        _check_chunks(file[name])
        array = np.asarray(file[name])
    mapped.check_path()
    return array.astype(array.dtype.newbyteorder("="), copy=False)
