"""Converting a checkpoint from any format to any other: one tensor at a time, all files at once or none."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from converters.checkpoint import CheckpointError, open_checkpoint
from converters.companions import DTYPES, model_files, tokenizer_files
from converters.description import beside, describe
from converters.formats import BY_NAME
from converters.matching import fit
from converters.naming import to_file
from converters.target import check_target, is_folder_of, whole
from converters.tensors import TensorEntry
from converters.writing import check_free_space, parse_size, save_weights

if TYPE_CHECKING:
    import os
    from typing import Unpack

    from clip_core.hub import HubOptions
    from converters.checkpoint import Checkpoint
    from converters.formats import Format

# What may be converted to; a format that only old files come in is not among them.
TARGETS = ("safetensors", "torch", "tf", "flax", "openai", "open_clip")


@dataclass
class Conversion:
    """What a conversion did.

    Attributes:
        source: where from.
        source_format: the format that was read, by its name in `converters.formats.FORMATS`.
        target: where to.
        target_format: the format that was written.
        class_name: the model class.
        files: the names of the files written, the weights first.
        tensors: how many parameters there are.
        bytes: the size of their values as written.
        notes: what a user should know, such as files that the source does not have.
    """

    source: str
    source_format: str
    target: str
    target_format: str
    class_name: str
    files: list[str] = field(default_factory=list)
    tensors: int = 0
    bytes: int = 0
    notes: list[str] = field(default_factory=list)


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    to: str,
    *,
    dtype: str | None = None,
    max_shard_size: int | str | None = None,
    overwrite: bool = False,
    **options: Unpack[HubOptions],
) -> Conversion:
    """Convert a checkpoint. The target holds all of it in the end, or is as it was.

    Args:
        source: a folder, file or hub id, in any format.
        target: the folder to write to; made where it is missing.
        to: one of TARGETS.
        dtype: of the floating-point weights; by default each keeps its own.
        max_shard_size: bytes, or a string such as "5GB", beyond which the weights go into several files; 5GB by default
            for formats whose libraries read several.
        overwrite: replace files that the target holds.
        **options: where in the source or on the hub; see `clip_core.hub.HubOptions`.

    Raises:
        ValueError: the source is damaged, or no CLIP, or the target's library could not run it as it is meant.
        FileExistsError: the target holds such files, and `overwrite` is not given.
        OSError: the target cannot be written to, or has too little room.
    """
    format_ = _target_format(to, max_shard_size)
    checkpoint = open_checkpoint(source, **options)
    description = describe(checkpoint, source, **options)
    fit(checkpoint, description.config, description.class_name, advice="")
    tensors = _with_dtype(checkpoint, dtype)
    result = Conversion(str(source), _name(checkpoint), str(target), to, description.class_name, tensors=len(tensors))
    result.bytes = sum(tensor.nbytes for tensor in tensors.values())
    try:
        to_file(tensors, format_.layout)  # what has no place there is told before anything is written
        texts = model_files(description, format_, tensors, result.notes)
    except ValueError as error:
        raise ValueError(f"{source} cannot be converted to {to}: {error}") from error
    texts |= tokenizer_files(*beside(source, options), format_, result.notes)
    folder = Path(target).expanduser().absolute()
    if not overwrite and is_folder_of(source, options, folder):  # a second format beside the first
        texts = {name: text for name, text in texts.items() if not (folder / name).exists()}
    check_target(folder, format_, texts, result.notes, overwrite=overwrite)
    check_free_space(folder, result.bytes)
    with whole(folder) as place:
        result.files = save_weights(
            place,
            tensors,
            format_.write,
            file=format_.file,
            max_shard_size=_shard_size(format_, max_shard_size, result.bytes),
            texts=texts,
        )
    result.files += sorted(texts)
    return result


def _target_format(to: str, max_shard_size: int | str | None) -> Format:
    if to not in TARGETS:
        raise ValueError(f"to={to!r} is no format to convert to; it is one of {', '.join(TARGETS)}")
    format_ = BY_NAME[to]
    if max_shard_size is not None:
        parse_size(max_shard_size)
        if not format_.sharded:
            raise ValueError(f"{format_.libraries} reads one file only; leave max_shard_size out for {to}")
    return format_


def _shard_size(format_: Format, max_shard_size: int | str | None, total: int) -> int | str:
    if max_shard_size is not None:
        return max_shard_size
    return "5GB" if format_.sharded else max(1, total)


def _name(checkpoint: Checkpoint) -> str:
    """What a checkpoint's format is called: that of its files, and where it is another, whose names are in them."""
    name = "state dict" if checkpoint.format is None else checkpoint.format.name
    if checkpoint.format is None or checkpoint.layout is checkpoint.format.layout:
        return name
    return f"{name} with {checkpoint.layout.name}'s names"


def _with_dtype(checkpoint: Checkpoint, dtype: str | None) -> dict[str, TensorEntry]:
    if dtype is None:
        return dict(checkpoint.entries)
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r} is none for weights; it is one of {', '.join(DTYPES)}")
    return {name: _cast(name, tensor, DTYPES[dtype]) for name, tensor in checkpoint.entries.items()}


def _cast(name: str, tensor: TensorEntry, dtype: np.dtype) -> TensorEntry:
    if tensor.dtype == dtype or tensor.dtype.kind in "biu":  # numbers that are no weights stay as they are
        return tensor

    def load() -> np.ndarray:
        array = tensor.load()
        with np.errstate(over="ignore"):
            converted = array.astype(dtype)
        overflown = np.isfinite(array) & ~np.isfinite(converted)
        if overflown.any():
            largest = np.abs(array[overflown].astype(np.float64)).max()
            raise CheckpointError(f"{name} holds {largest:.4g}, which is more than {dtype} can; take another dtype")
        return converted

    return TensorEntry(tensor.shape, dtype, load)
