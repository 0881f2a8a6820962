"""`flax_model.msgpack`: nested maps in MessagePack with arrays as leaves, in Flax's extension types.

An array is an extension with its shape, the name of its dtype, and its bytes. An array of more than 1 GiB is a map of
pieces. The reader walks over the structure without reading the bytes. The writer writes one array at a time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, BinaryIO

import msgpack
import numpy as np

from clip_core.hub.printing import shortened
from converters.formats import safetensors
from converters.formats.mapped import MappedFile
from converters.formats.msgpack_walk import Extension, walk
from converters.tensors import TensorEntry, check_sizes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# Flax's extension types.
_ARRAY, _NUMPY_SCALAR = 1, 3

# Flax's marker of an array in pieces, and the maximum size of a piece in bytes.
_CHUNKED = "__msgpack_chunked_array__"
LARGEST_PIECE = 2**30

# The dtypes by name; numpy would take any text as one, such as "V4" or "O".
_DTYPES: dict[str, np.dtype] = {dtype.name: dtype for dtype in safetensors.DTYPES.values()}

_Tree = dict[str, Any]


def read(path: Path) -> dict[str, TensorEntry]:
    """Return the tensors of a file, memory-mapped, by their names joined with "/".

    Raises:
        ValueError: the file is not MessagePack, is truncated, or contains anything other than arrays.
    """
    file = MappedFile(path)
    try:
        tree = walk(file.part(0, file.size))
    except (ValueError, RecursionError, OverflowError) as error:
        raise ValueError(f"not a complete MessagePack file ({error}); download or save it again") from error
    if not isinstance(tree, dict):
        raise ValueError("expected a map of parameters, as in Flax's files")  # noqa: TRY004  the file is wrong
    entries = dict(_leaves(tree, "", file))
    check_sizes(entries, file.size)
    return entries


def write(path: Path, tensors: Mapping[str, TensorEntry]) -> None:
    """Write a file, one tensor in memory at a time; `clip_core.hub.files.staged` makes this atomic.

    Args:
        path: the file.
        tensors: by their names in Flax's layout, such as "text_model/embeddings/token_embedding/embedding".
    """
    tree: _Tree = {}
    for name, tensor in tensors.items():
        *segments, last = name.split("/")
        branch = tree
        for segment in segments:
            branch = branch.setdefault(segment, {})
        branch[last] = tensor
    with path.open("wb") as file:
        _write_tree(file, tree)


def _leaves(tree: _Tree, prefix: str, file: MappedFile) -> Iterator[tuple[str, TensorEntry]]:
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Extension) and value.code in {_ARRAY, _NUMPY_SCALAR}:
            yield name, _array(name, value, file)
        elif isinstance(value, dict) and _CHUNKED in value:
            yield name, _array_in_pieces(name, value, file)
        elif isinstance(value, dict):
            yield from _leaves(value, f"{name}/", file)
        else:
            raise ValueError(f"{name} is not an array")


def _array(name: str, extension: Extension, file: MappedFile) -> TensorEntry:
    match walk(file.part(extension.start, extension.end)):
        case [list(shape), str(dtype_name), Extension() as content] if all(map(_is_size, shape)):
            pass
        case _:
            raise ValueError(f"{name} is not an array in Flax's encoding")
    dtype = _dtype(name, dtype_name)
    if math.prod(shape) * dtype.itemsize != content.end - content.start:
        raise ValueError(f"{name} has shape {shape} but {content.end - content.start} bytes, which does not match")

    start, end = extension.start + content.start, extension.start + content.end

    def load() -> np.ndarray:
        array: np.ndarray = file.part(start, end).view(dtype).reshape(shape)
        return array

    return TensorEntry(tuple(shape), dtype, load, lambda array: file.read_into(array, start))


def _array_in_pieces(name: str, tree: _Tree, file: MappedFile) -> TensorEntry:
    chunks, sizes = (_in_turn(tree.get(key)) for key in ("chunks", "shape"))
    if not all(isinstance(chunk, Extension) for chunk in chunks) or not all(map(_is_size, sizes)):
        raise ValueError(f"{name} is not an array in pieces in Flax's encoding")
    pieces, shape = [_array(name, chunk, file) for chunk in chunks], tuple(sizes)
    if math.prod(shape) != sum(math.prod(piece.shape) for piece in pieces) or not pieces:
        raise ValueError(f"{name} has shape {shape}, but the size of its pieces does not match")
    if len({piece.dtype for piece in pieces}) > 1:
        raise ValueError(f"{name} has pieces of several dtypes")

    def load() -> np.ndarray:
        return np.concatenate([piece.load().reshape(-1) for piece in pieces]).reshape(shape)

    def fill(array: np.ndarray) -> None:
        flat, start = array.reshape(-1), 0
        for piece in pieces:
            size = math.prod(piece.shape)
            flat[start : start + size] = piece.load().reshape(-1)
            start += size

    return TensorEntry(shape, pieces[0].dtype, load, fill)


def _in_turn(numbered: Any) -> list[Any]:
    """Return the values under the keys "0", "1" and so on, None for a missing one; an empty list for no map."""
    return [numbered.get(str(number)) for number in range(len(numbered))] if isinstance(numbered, dict) else []


def _is_size(number: Any) -> bool:
    return type(number) is int and number >= 0


def _dtype(name: str, dtype_name: str) -> np.dtype:
    dtype: np.dtype | None = _DTYPES.get(dtype_name)
    if dtype is None:
        raise ValueError(
            f"{name} has the unknown dtype {shortened(repr(dtype_name))}; expected one of {', '.join(_DTYPES)}"
        )
    return dtype


def _write_tree(file: BinaryIO, tree: _Tree) -> None:
    packer = msgpack.Packer()
    file.write(packer.pack_map_header(len(tree)))
    for key, value in tree.items():
        file.write(packer.pack(key))
        if isinstance(value, dict):
            _write_tree(file, value)
        elif value.nbytes > LARGEST_PIECE:
            _write_in_pieces(file, value)
        else:
            array = value.load()
            _write_array(file, array, array.shape)


def _write_in_pieces(file: BinaryIO, tensor: TensorEntry) -> None:
    packer = msgpack.Packer()
    flat = tensor.load().reshape(-1)
    length = max(1, LARGEST_PIECE // tensor.dtype.itemsize)
    starts = range(0, flat.size, length)
    file.write(packer.pack_map_header(3))
    file.write(packer.pack(_CHUNKED) + packer.pack(True))
    file.write(packer.pack("shape") + packer.pack({str(axis): size for axis, size in enumerate(tensor.shape)}))
    file.write(packer.pack("chunks") + packer.pack_map_header(len(starts)))
    for number, start in enumerate(starts):
        file.write(packer.pack(str(number)))
        piece = flat[start : start + length]
        _write_array(file, piece, piece.shape)


def _write_array(file: BinaryIO, array: np.ndarray, shape: tuple[int, ...]) -> None:
    """Write the same bytes as Flax without copying the values."""
    packer = msgpack.Packer()
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    inner = b"".join(
        (packer.pack_array_header(3), packer.pack(shape), packer.pack(array.dtype.name), _bin_header(content.size))
    )
    file.write(_extension_header(_ARRAY, len(inner) + content.size) + inner)
    file.write(content.data)


def _bin_header(size: int) -> bytes:
    width, code = (1, 0xC4) if size < 2**8 else (2, 0xC5) if size < 2**16 else (4, 0xC6)
    return bytes([code]) + size.to_bytes(width, "big")


def _extension_header(code: int, size: int) -> bytes:
    fixed = {1: 0xD4, 2: 0xD5, 4: 0xD6, 8: 0xD7, 16: 0xD8}
    if size in fixed:
        return bytes([fixed[size], code])
    width, first = (1, 0xC7) if size < 2**8 else (2, 0xC8) if size < 2**16 else (4, 0xC9)
    return bytes([first]) + size.to_bytes(width, "big") + bytes([code])
