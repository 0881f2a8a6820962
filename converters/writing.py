"""Weights written as one file, or as shards with an index."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from clip_core.configuration.arguments import is_integer
from clip_core.hub.files import json_text, pattern_of, staged
from converters.formats.format import with_variant
from converters.naming.names import to_file
from converters.progress import progress
from converters.tensors import TensorEntry

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from converters.formats.format import Format

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_BESIDE_WEIGHTS = 10**7  # bytes; headers, tokenizer and config


def parse_size(size: int | str) -> int:
    """Return the number of bytes in a size: an integer, or a string such as "5GB" (10**9) or "5GiB" (2**30).

    Raises:
        ValueError: it is not a size, or not positive.
    """
    match = (
        re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B)", size.strip(), re.IGNORECASE) if isinstance(size, str) else None
    )
    count = int(float(match[1]) * _UNITS[match[2].upper()]) if match else size
    if not is_integer(count) or count <= 0:
        in_bytes = "" if isinstance(size, str) else ", or a positive integer of bytes"
        raise ValueError(
            f"max_shard_size={size!r} is not a size; give a number with a unit, such as '500MB' or '5GB'{in_bytes}"
        )
    return count


def plan_shards(sizes: Mapping[str, int], max_shard_size: int) -> list[list[str]]:
    """Split names, in order, into shards of at most `max_shard_size` bytes. A larger tensor gets a shard of its own."""
    shards: list[list[str]] = [[]]
    used = 0
    for name, size in sizes.items():
        if shards[-1] and used + size > max_shard_size:
            shards.append([])
            used = 0
        shards[-1].append(name)
        used += size
    return shards


def save_weights(
    folder: str | os.PathLike[str],
    tensors: Mapping[str, TensorEntry],
    format_: Format,
    *,
    max_shard_size: int | str = "5GB",
    variant: str | None = None,
    texts: Mapping[str, str] | None = None,
    replaces: Sequence[str] = (),
    before_switch: Callable[[], None] | None = None,
) -> list[str]:
    """Write weights atomically, as a single file or shards, and delete the files that they replace.

    Args:
        folder: the folder, created if missing.
        tensors: the tensors by canonical name, each loaded when it is written.
        format_: the format; the tensors get the names and the layout that its libraries expect.
        max_shard_size: bytes, or a string such as "5GB".
        variant: as in `model.<variant>.safetensors`.
        texts: the content of files that belong to the weights, such as config.json, by name, which may start with a
            subfolder; saved in the same step.
        replaces: names of further files that are deleted in that step unless `texts` has them; see `pattern_of`.
        before_switch: called when all is written and before anything is replaced; if it raises an error, nothing is.

    Returns:
        The names of the weight files, the index last.

    Raises:
        OSError: the disk has too little free space.
        ValueError: the format cannot store a tensor.
    """
    tensors = to_file(tensors, format_.layout)
    sizes = {name: tensor.nbytes for name, tensor in tensors.items()}
    total = sum(sizes.values())
    shards = plan_shards(sizes, parse_size(max_shard_size))
    check_free_space(folder, total)
    file, index_name = format_.candidates(variant)
    names = _shard_names(file, len(shards))
    obsolete = weight_files(format_.file, variant).pattern
    if replaces:
        obsolete = f"{obsolete}|{pattern_of(replaces).pattern}"
    with progress(total, "Saving") as advance, staged(folder, replaces=re.compile(obsolete)) as staging:
        for name, shard in zip(names, shards, strict=True):
            format_.write(staging / name, {key: _watched(tensors[key], advance) for key in shard})
        if len(shards) > 1:
            weight_map = {
                format_.index_name(key): name for name, shard in zip(names, shards, strict=True) for key in shard
            }
            index = {"metadata": {"total_size": total}, "weight_map": weight_map}
            (staging / index_name).write_text(json_text(index), encoding="utf-8")
        for name, text in (texts or {}).items():
            (staging / name).parent.mkdir(exist_ok=True)
            (staging / name).write_text(text, encoding="utf-8")
        if before_switch is not None:
            before_switch()
    return [*names, index_name] if len(shards) > 1 else names


def check_free_space(folder: str | os.PathLike[str], size: int) -> None:
    """Check that the disk has enough free space, before starting.

    Raises:
        OSError: the free space is less than `size` bytes and a margin for the files beside the weights.
    """
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    needed = size + _BESIDE_WEIGHTS
    if free < needed:
        raise OSError(
            f"{folder}: the weights and the files beside them need {needed / 1e6:,.1f} MB, but the disk has "
            f"{free / 1e6:,.1f} MB free"
        )


def _watched(tensor: TensorEntry, advance: Callable[[int], object]) -> TensorEntry:
    """Return the tensor with a `load` that advances the progress bar."""

    def load() -> np.ndarray:
        advance(tensor.nbytes)
        # Read, not mapped: a mapped file that another program truncates would end this process.
        return tensor.load() if tensor.fill is None else tensor.own()

    return TensorEntry(tensor.shape, tensor.dtype, load)


def _shard_names(file: str, count: int) -> list[str]:
    if count == 1:
        return [file]
    stem, _, suffix = file.rpartition(".")
    return [f"{stem}-{number:05d}-of-{count:05d}.{suffix}" for number in range(1, count + 1)]


def weight_files(file: str, variant: str | None = None) -> re.Pattern[str]:
    """Return a pattern for all file names of such weights: the single file, shards in any number, and the index."""
    stem, _, suffix = with_variant(file, variant).rpartition(".")
    index = re.escape(with_variant(f"{file}.index.json", variant))
    return re.compile(rf"{re.escape(stem)}(-\d{{5}}-of-\d{{5}})?\.{suffix}|{index}")
