"""A checkpoint of any format as a lazy mapping from canonical parameter names to arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from clip_core.configuration.foreign import foreign_tensors
from clip_core.hub import find_file, list_files, require_file
from clip_core.hub.changes import Stamp, WatchedFiles, check_stamp
from clip_core.hub.files import read_json, unique
from clip_core.hub.pointers import LFS_ADVICE, is_lfs_pointer
from clip_core.hub.printing import printable
from clip_core.hub.switching import settle
from clip_core.hub.targets import expanded, given_path
from converters.formats import FORMATS, layouts
from converters.formats.format import with_variant
from converters.naming.names import bare_name, layout_of, to_canonical
from converters.tensors import check_names

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Unpack

    import numpy as np

    from clip_core.hub import HubOptions
    from converters.formats.format import Format
    from converters.tensors import TensorEntry

__all__ = ["FORMATS", "Checkpoint", "CheckpointError", "formats_in", "open_checkpoint", "with_variant"]


_SHOWN_FOLDERS = 5
_INDEX = ".index.json"


class CheckpointError(ValueError, RuntimeError):
    """An error about a checkpoint that cannot be read or does not fit the model.

    It is also a RuntimeError, like the errors of PyTorch and transformers for weights that do not fit.

    Args:
        message: the message.
        summary: the message in one line; None if the message is one.

    Attributes:
        summary: the message in one line.
    """

    def __init__(self, message: str, summary: str | None = None) -> None:
        super().__init__(message)
        self.summary = message if summary is None else summary


class Checkpoint(Mapping[str, "np.ndarray"]):
    """A mapping from canonical name to array. Arrays are read on access; shapes and dtypes come from the header.

    Args:
        entries: the tensors by their names in the files, in the layout of any format.
        source: the name of the checkpoint, for messages.
        files: the files, with the index of a sharded checkpoint last.
        format: the format of the files.
        as_named: keep the names of a file in Hugging Face's layout, for a user's own class.

    Attributes:
        entries: the tensors by canonical name.
        names_in_file: the name in the file by canonical name.
        constants: the names in the file of tensors that are not parameters, such as `position_ids` of old checkpoints.
        layout: the layout of the file.

    Raises:
        CheckpointError: the checkpoint is of another model family, or a parameter appears twice or has an impossible
            shape.
    """

    def __init__(
        self,
        entries: Mapping[str, TensorEntry],
        source: str,
        files: Sequence[Path] = (),
        format: Format | None = None,  # noqa: A002  a keyword of the public API
        *,
        as_named: bool = False,
    ) -> None:
        self.source = source
        self.files = list(files)
        self.format = format
        family = None if as_named else foreign_tensors(entries)
        if family is not None:
            raise CheckpointError(f"{source} is not a CLIP checkpoint, but {family}")
        try:
            self.layout = layout_of(entries, layouts())
            if as_named and self.layout.is_canonical:
                self.entries, self.names_in_file = dict(entries), {name: name for name in entries}
            else:
                self.entries, self.names_in_file = to_canonical(entries, self.layout)
        except ValueError as error:
            raise CheckpointError(f"{source}: {error}") from error
        self.constants = sorted(entries.keys() - set(self.names_in_file.values()))

    @property
    def format_name(self) -> str:
        """Name of the format, followed by the name of the layout if it is not the usual one of the format."""
        if self.format is None:
            return "state dict"
        has_own = self.layout is self.format.layout
        return self.format.name if has_own else f"{self.format.name} with {self.layout.name}'s names"

    def __getitem__(self, name: str) -> np.ndarray:
        return self.entries[name].load()

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, from the file's header.

        Args:
            name: the tensor's canonical name.
        """
        return self.entries[name].shape

    def dtype(self, name: str) -> np.dtype:
        """Return the dtype of a tensor, from the file's header.

        Args:
            name: the tensor's canonical name.
        """
        return self.entries[name].dtype


def open_checkpoint(
    source: str | os.PathLike[str],
    *,
    variant: str | None = None,
    use_safetensors: bool | None = None,
    format: str | None = None,  # noqa: A002  a keyword of the public API
    as_named: bool = False,
    **options: Unpack[HubOptions],
) -> Checkpoint:
    """Open a checkpoint in any format, single file or sharded. No tensor is read yet.

    Args:
        source: a local folder or weight file, or a hub id.
        variant: as in `model.<variant>.safetensors`.
        use_safetensors: True for safetensors only, False for any other format, None for any format. If a folder
            contains several formats, the first one in `FORMATS` is used; `Checkpoint.format` names it.
        format: the name in `FORMATS` of the format to use.
        as_named: as in `Checkpoint`.
        **options: hub options; see `clip_core.hub.HubOptions`.

    Returns:
        The checkpoint, whose tensors are read on access.

    Raises:
        FileNotFoundError: the source has no weights in a known format.
        CheckpointError: a file is damaged, an index names a missing tensor or file, or the model is not CLIP.
        ChangedError: another program writes to the files.
    """
    path = expanded(given_path(source))
    settle(path)
    watched = WatchedFiles(path, options.get("subfolder"))
    if path.is_file() and path.name not in _config_names():
        checkpoint = _open_file(path, _format_of_file(path), source, path.parent, as_named=as_named)
        watched.check(checkpoint.files)
        return checkpoint
    formats = [
        candidate
        for candidate in FORMATS
        if (use_safetensors is None or use_safetensors == candidate.is_safetensors) and format in {None, candidate.name}
    ]
    names = {name: candidate for candidate in formats for name in candidate.candidates(variant)}
    try:
        path = require_file(source, list(names), **options)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}{_nested(source, set(names))}") from None
    checkpoint = _open_file(path, names[path.name], source, source, as_named=as_named, **options)
    watched.check(checkpoint.files)
    return checkpoint


def formats_in(
    source: str | os.PathLike[str], variant: str | None = None, **options: Unpack[HubOptions]
) -> list[Format]:
    """Return the formats in which a folder or repository has weights, in order of preference."""
    there = set(list_files(source, **options))
    return [format_ for format_ in FORMATS if there & set(format_.candidates(variant))]


def _nested(source: str | os.PathLike[str], names: set[str]) -> str:
    """Return a hint for a local folder whose weights are in a subfolder, as sentence-transformers saves them."""
    folder = expanded(given_path(source))
    found = sorted({path.parent.name for path in folder.glob("*/*") if path.name in names}) if folder.is_dir() else []
    if not found:
        return ""
    more = f" and {len(found) - _SHOWN_FOLDERS} more" if len(found) > _SHOWN_FOLDERS else ""
    where = f"subfolder {found[0]}" if len(found) == 1 else f"subfolders {', '.join(found[:_SHOWN_FOLDERS])}{more}"
    return f". There are weights in its {where}: give {folder / found[0]}"


def _open_file(
    path: Path,
    format_: Format,
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    as_named: bool,
    **options: Unpack[HubOptions],
) -> Checkpoint:
    """Return the checkpoint of a weight file, or of an index and its shards, in a folder or repository."""
    if not path.name.endswith(".json"):
        return Checkpoint(_entries(path, format_), str(source), [path], format_, as_named=as_named)
    entries, files = _read_shards(path, format_, folder, **options)
    return Checkpoint(entries, str(source), files, format_, as_named=as_named)


def _config_names() -> set[str | None]:
    """Return the names of configuration files. A source given as one of them stands for its folder."""
    return {format_.companions.config_name for format_ in FORMATS}


def _format_of_file(path: Path) -> Format:
    name = path.name.removesuffix(_INDEX)
    for format_ in FORMATS:
        if name == format_.file:
            return format_
    for format_ in FORMATS:
        if name.endswith(format_.suffixes):
            return format_
    endings = ", ".join(suffix for format_ in FORMATS for suffix in format_.suffixes)
    raise CheckpointError(f"{path} is not a weight file of a known format; its name must end in one of {endings}")


def _entries(path: Path, format_: Format) -> Mapping[str, TensorEntry]:
    if is_lfs_pointer(path):
        raise CheckpointError(f"{path}: {LFS_ADVICE}")
    before = Stamp.of(path.stat())
    try:
        entries = format_.read(path)
        check_names(entries)
    except ValueError as error:
        check_stamp(path, before, path)
        raise CheckpointError(f"{printable(path)} cannot be read as {format_.name}: {printable(error)}") from error
    return entries


def _read_shards(
    index: Path, format_: Format, source: str | os.PathLike[str], **options: Unpack[HubOptions]
) -> tuple[dict[str, TensorEntry], list[Path]]:
    content = read_json(index, check=unique)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise CheckpointError(f"{index} has no valid weight_map from tensors to shards; download it again")
    by_shard: dict[str, list[str]] = {}
    for name, shard in weight_map.items():
        by_shard.setdefault(shard, []).append(name)
    try:
        check_names(weight_map)
        check_names(by_shard)
    except ValueError as error:
        raise CheckpointError(f"{index}: {error}") from error
    layout = layout_of(weight_map, layouts())
    entries: dict[str, TensorEntry] = {}
    files = []
    for shard, names in sorted(by_shard.items()):
        path = find_file(source, shard, **options)
        if path is None:
            raise CheckpointError(f"{index.name} names {shard}, which is missing from {source}; download it, too")
        files.append(path)
        # In TensorFlow's format, names in the index have longer prefixes than in the shards.
        in_shard = {bare_name(layout, name): (name, entry) for name, entry in _entries(path, format_).items()}
        for name in names:
            if bare_name(layout, name) not in in_shard:
                raise CheckpointError(f"{index.name} lists {name} in {shard}, but the shard does not contain it")
            name_in_shard, entry = in_shard[bare_name(layout, name)]
            entries[name_in_shard] = entry
    return entries, [*files, index]
