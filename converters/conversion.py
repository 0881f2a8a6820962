"""Conversion of checkpoints between formats, one tensor at a time; the target never contains a partial checkpoint."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from clip_core.configuration.arguments import check_one_of
from clip_core.hub.changes import WatchedFiles
from clip_core.hub.files import new_folder, pattern_of
from clip_core.hub.owning import owned
from clip_core.hub.switching import settle
from clip_core.hub.targets import check_folder, expanded, given_path
from converters.checkpoint import CheckpointError, open_checkpoint
from converters.formats import FORMATS, format_named, target_names
from converters.naming.matching import check_fit
from converters.naming.names import to_file
from converters.sidecars.companions import DTYPES
from converters.sidecars.description import beside, describe
from converters.sidecars.files import TOKENIZER_FILES, all_files, model_files, tokenizer_files
from converters.tensors import TensorEntry
from converters.writing import check_free_space, parse_size, save_weights, weight_files

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Unpack

    from clip_core.hub import HubOptions
    from converters.checkpoint import Checkpoint
    from converters.formats.format import Format


def is_folder_of(source: str | os.PathLike[str], options: HubOptions, folder: Path) -> bool:
    """Return True if the target is the source's own folder, which already contains the files beside the weights."""
    place, rest = beside(source, options)
    own = expanded(given_path(place)) / (rest.get("subfolder") or "")
    return own.is_dir() and folder.is_dir() and own.samefile(folder)


def check_target(
    folder: Path, format_: Format, texts: Mapping[str, str], notes: list[str], *, overwrite: bool
) -> list[str]:
    """Check that a target is a folder without other weights or texts, unless `overwrite` is set.

    Args:
        folder: the target.
        format_: the format to write.
        texts: the content of the files beside the weights, by name.
        notes: receives a line if the target also has weights in another format.
        overwrite: True to replace existing files.

    Returns:
        The names of weights in other formats.

    Raises:
        FileExistsError: the folder contains such files, and `overwrite` is False.
    """
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    other = [name for each in FORMATS if each is not format_ for name in there if name in each.candidates(None)]
    if other:
        notes.append(
            f"{folder} also contains {', '.join(other)}; clip-zoo inspect shows which is read, and if they agree"
        )
    if overwrite:
        return other
    replaced = weight_files(format_.file)
    taken = [name for name in there if replaced.fullmatch(name)]
    taken += [name for name, text in texts.items() if (folder / name).exists() and not _holds(folder / name, text)]
    if taken:
        raise FileExistsError(f"{folder} already contains {', '.join(sorted(taken))}; pass --overwrite to replace")
    return other


def _holds(path: Path, text: str) -> bool:
    return path.read_bytes() == text.encode()


@dataclass
class Conversion:
    """The result of a conversion.

    Attributes:
        source: the source.
        source_format: the format that was read, by its name in `converters.formats.FORMATS`.
        target: the folder that was written.
        target_format: the format that was written.
        class_name: the model class.
        files: the names of the files written, the weights first.
        tensors: the number of parameters.
        bytes: the size of their values, as written.
        notes: remarks for the user, for example about files that the source lacks.
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
    """Convert a checkpoint. If this fails, the target is unchanged.

    Args:
        source: a folder, file or hub id, in any format.
        target: the folder to write to, created if missing.
        to: the name of a format that can be written; `clip-zoo formats` lists them.
        dtype: the dtype of the floating-point weights; None to keep it.
        max_shard_size: bytes, or a string such as "5GB"; larger weights are split into several files. The default is
            5GB for formats whose libraries read shards.
        overwrite: replace existing files.
        **options: hub options; see `clip_core.hub.HubOptions`.

    Returns:
        The files written, and notes about what is missing.

    Raises:
        ValueError: the source is damaged or not CLIP, or the target's library would compute other values.
        FileExistsError: the target contains such files, and `overwrite` is False.
        BlockingIOError: another process converts or trains into the target.
        ChangedError: another program writes to the source.
        OSError: the target cannot be written, or the disk is full.
    """
    format_ = _target_format(to, max_shard_size)
    if dtype is not None:
        check_one_of(dtype=(dtype, DTYPES))
    given = expanded(given_path(target))
    folder = given.absolute()
    check_folder("target", given)  # before the source is downloaded
    settle(folder)
    watched = WatchedFiles(source, options.get("subfolder"))
    checkpoint = open_checkpoint(source, **options)
    description = describe(checkpoint, source, **options)
    check_fit(checkpoint, description.config, description.class_name, advice="")
    tensors = _with_dtype(checkpoint, dtype)
    _check_stored(source, tensors, format_, dtype)
    result = Conversion(
        str(source), checkpoint.format_name, str(target), to, description.class_name, tensors=len(tensors)
    )
    result.bytes = sum(tensor.nbytes for tensor in tensors.values())
    try:
        to_file(tensors, format_.layout)  # raises before anything is written
        texts = model_files(description, format_, tensors, result.notes)
    except ValueError as error:
        raise ValueError(f"{source} cannot be converted to {to}: {error}") from error
    texts |= tokenizer_files(*beside(source, options), format_, result.notes)
    is_own = is_folder_of(source, options, folder)  # adds a second format to a folder
    if not overwrite and is_own:
        texts = {name: text for name, text in texts.items() if not (folder / name).exists()}
    with owned(folder, f"a conversion to {to}"), ExitStack() as open_folder:
        other = check_target(folder, format_, texts, result.notes, overwrite=overwrite)
        check_free_space(folder, result.bytes)
        place = folder if folder.exists() else open_folder.enter_context(new_folder(folder))
        result.files = save_weights(
            place,
            tensors,
            format_,
            max_shard_size=_shard_size(format_, max_shard_size, result.bytes),
            texts=texts,
            replaces=_replaced(texts, is_shared=is_own or bool(other)) if overwrite else (),
            before_switch=lambda: watched.check(checkpoint.files),
        )
    result.files += sorted(texts)
    return result


def _replaced(texts: Mapping[str, str], *, is_shared: bool) -> tuple[str, ...]:
    """Return the files beside the weights that a conversion replaces: those of an earlier model describe another one.

    Args:
        texts: the new files.
        is_shared: True if the files also describe weights in another format that stay. Even then, a new tokenizer
            replaces all files of the earlier one.
    """
    if not is_shared:
        return all_files()
    return TOKENIZER_FILES if any(pattern_of(TOKENIZER_FILES).fullmatch(name) for name in texts) else ()


def _target_format(to: str, max_shard_size: int | str | None) -> Format:
    if to not in target_names():
        raise ValueError(f"to={to!r} is not a format that can be written; give one of {', '.join(target_names())}")
    format_ = format_named(to)
    if max_shard_size is not None:
        parse_size(max_shard_size)
        if not format_.sharded:
            raise ValueError(
                f"max_shard_size={max_shard_size!r} does not apply to to={to!r}, which writes one file; omit it"
            )
    return format_


def _shard_size(format_: Format, max_shard_size: int | str | None, total: int) -> int | str:
    if max_shard_size is not None:
        return max_shard_size
    return "5GB" if format_.sharded else max(1, total)


def _with_dtype(checkpoint: Checkpoint, dtype: str | None) -> dict[str, TensorEntry]:
    if dtype is None:
        return dict(checkpoint.entries)
    return {name: _cast(name, tensor, DTYPES[dtype]) for name, tensor in checkpoint.entries.items()}


def _check_stored(
    source: str | os.PathLike[str], tensors: Mapping[str, TensorEntry], format_: Format, dtype: str | None
) -> None:
    """Check that a format can store the dtypes of all tensors, before the target is touched."""
    if format_.dtypes is None:
        return
    for name, tensor in tensors.items():
        if tensor.dtype.name not in format_.dtypes:
            choices = ", ".join(one for one in DTYPES if one in format_.dtypes)
            if dtype is not None:
                raise ValueError(f"dtype={dtype!r} cannot be stored by to={format_.name!r}; give one of {choices}")
            raise ValueError(
                f"to={format_.name!r} cannot store {tensor.dtype.name}, the dtype of {name} in {source}; pass "
                f"dtype=... with one of {choices}"
            )


def _cast(name: str, tensor: TensorEntry, dtype: np.dtype) -> TensorEntry:
    if tensor.dtype == dtype or tensor.dtype.kind in "biu":  # integers are not weights
        return tensor

    def load() -> np.ndarray:
        array = tensor.load() if tensor.fill is None else tensor.own()
        with np.errstate(over="ignore"):
            converted = array.astype(dtype)
        overflown = np.isfinite(array) & ~np.isfinite(converted)
        if overflown.any():
            largest = np.abs(array[overflown].astype(np.float64)).max()
            raise CheckpointError(
                f"dtype={dtype.name!r}: {name} has the value {largest:.4g}, beyond its range; give another dtype"
            )
        return converted

    stored = tensor.stored and tensor.stored._replace(entry=_cast(name, tensor.stored.entry, dtype))
    return TensorEntry(tensor.shape, dtype, load, stored=stored)
