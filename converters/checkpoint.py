"""A checkpoint: a lazy mapping from canonical parameter names to arrays, whatever files it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clip_core.files import read_json
from clip_core.hub import find_file, require_file
from converters.canonical import canonical_names
from converters.formats import safetensors, torch_bin

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from typing import Unpack

    import numpy as np

    from clip_core.hub import HubOptions
    from converters.tensors import TensorEntry


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or does not fit the model."""


@dataclass(frozen=True)
class Format:
    """How the files of one format are called and read.

    Attributes:
        name: the name that a user knows the format by.
        file: the file of a checkpoint that is not sharded; `<file>.index.json` names the shards of one that is.
        suffixes: the endings by which a single file is recognised.
        read: gives the tensors of one file, by the names that stand in it, unread.
    """

    name: str
    file: str
    suffixes: tuple[str, ...]
    read: Callable[[Path], Mapping[str, TensorEntry]]

    def candidates(self, variant: str | None) -> tuple[str, str]:
        """The file names to look for: the single file, and the index of a sharded checkpoint."""
        return with_variant(self.file, variant), with_variant(f"{self.file}.index.json", variant)


# In the order of preference where a folder holds several.
FORMATS = (
    Format("safetensors", "model.safetensors", (".safetensors",), safetensors.read),
    Format("torch", "pytorch_model.bin", (".bin", ".pt", ".pth"), torch_bin.read),
)


class Checkpoint(Mapping[str, "np.ndarray"]):
    """Canonical name to array. An array is read when it is asked for; shapes and dtypes cost nothing.

    Args:
        entries: the tensors by the names that stand in the files, in any of the Hugging Face layouts.
        source: what to call the checkpoint in messages.
    """

    def __init__(self, entries: Mapping[str, TensorEntry], source: str) -> None:
        self.source = source
        try:
            self.names_in_file = canonical_names(entries)
        except ValueError as error:
            raise CheckpointError(f"{source}: {error}") from error
        self.entries = {name: entries[in_file] for name, in_file in self.names_in_file.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        return self.entries[name].load()

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, from the file's header."""
        return self.entries[name].shape

    def dtype(self, name: str) -> np.dtype:
        """A tensor's dtype, from the file's header."""
        return self.entries[name].dtype


def open_checkpoint(
    source: str | os.PathLike[str],
    *,
    variant: str | None = None,
    use_safetensors: bool | None = None,
    **options: Unpack[HubOptions],
) -> Checkpoint:
    """Open a checkpoint for reading, single file or sharded; no tensor is read yet.

    Args:
        source: a local folder or weight file, or a hub id.
        variant: as in `model.<variant>.safetensors`.
        use_safetensors: True for safetensors alone, False for `pytorch_model.bin` alone, None for what is there.
        **options: where on the hub; see `clip_core.hub.HubOptions`.

    Raises:
        FileNotFoundError: the source holds no weights in a known format.
        CheckpointError: a file is damaged, or an index names a tensor or file that is not there.
    """
    if Path(source).is_file():
        return Checkpoint(_read(Path(source)), str(source))
    formats = [f for f in FORMATS if use_safetensors is None or use_safetensors == (f.name == "safetensors")]
    names = [name for format_ in formats for name in format_.candidates(variant)]
    path = require_file(source, names, **options)
    if path.suffix == ".json":
        return Checkpoint(_read_shards(path, source, **options), str(source))
    return Checkpoint(_read(path), str(source))


def with_variant(name: str, variant: str | None) -> str:
    """`model.safetensors` to `model.fp16.safetensors`, for the variant fp16."""
    if variant is None:
        return name
    stem, _, suffix = name.rpartition(".")
    return f"{stem}.{variant}.{suffix}"


def _read(path: Path) -> Mapping[str, TensorEntry]:
    for format_ in FORMATS:
        if path.name.endswith(format_.suffixes):
            try:
                return format_.read(path)
            except ValueError as error:
                raise CheckpointError(f"{path} cannot be read as {format_.name}: {error}") from error
    endings = ", ".join(suffix for format_ in FORMATS for suffix in format_.suffixes)
    raise CheckpointError(f"{path} is no weight file of a known format; its name has to end in one of {endings}")


def _read_shards(index: Path, source: str | os.PathLike[str], **options: Unpack[HubOptions]) -> dict[str, TensorEntry]:
    try:
        weight_map = dict(read_json(index)["weight_map"])
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{index} holds no weight_map; it should map each tensor to its shard") from error
    entries: dict[str, TensorEntry] = {}
    for shard in sorted(set(weight_map.values())):
        path = find_file(source, shard, **options)
        if path is None:
            raise CheckpointError(
                f"{index.name} names {shard}, which {source} does not hold; the checkpoint is incomplete"
            )
        in_shard = _read(path)
        for name in (name for name, file in weight_map.items() if file == shard):
            if name not in in_shard:
                raise CheckpointError(f"{index.name} says that {name} is in {shard}, and it is not")
            entries[name] = in_shard[name]
    return entries
