"""The description of a checkpoint format: everything the rest of the package knows about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from converters.sidecars.companions import TRANSFORMERS_FILES, Companions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from converters.naming.rules import Layout
    from converters.tensors import TensorEntry


@dataclass(frozen=True)
class Format:
    """A checkpoint format: its files, how to read and write them, and what its library expects.

    `layout` is used only for writing. A reader detects the layout from the names in the file, because all libraries
    write safetensors.

    Attributes:
        name: the name by which users select the format.
        file: the file of an unsharded checkpoint; `<file>.index.json` lists the shards of a sharded one.
        suffixes: the file name extensions that identify a single file.
        read: returns the tensors of one file, unread, by their names in it.
        write: writes tensors to one file, by their names in the file.
        layout: the names and layout of the tensors that the format's library expects.
        libraries: the libraries that read the files, other than clip-zoo.
        companions: the files beside the weights.
        sharded: True if those libraries can read a checkpoint in several files.
        written: False for a legacy format that is only read.
        index_name: converts the name of a tensor in the file to its name in the index.
        dtypes: the names of the dtypes that a file can store; None for all that weights have.
        metadata: returns the metadata of a file, where transformers expects the key `format`; None if the format has no
            metadata.
    """

    name: str
    file: str
    suffixes: tuple[str, ...]
    read: Callable[[Path], Mapping[str, TensorEntry]]
    write: Callable[[Path, Mapping[str, TensorEntry]], None]
    layout: Layout
    libraries: str
    companions: Companions = TRANSFORMERS_FILES
    sharded: bool = True
    written: bool = True
    index_name: Callable[[str], str] = str
    dtypes: tuple[str, ...] | None = None
    metadata: Callable[[Path], Mapping[str, str]] | None = None

    @property
    def is_safetensors(self) -> bool:
        """True if the files are safetensors, whatever the names of the tensors."""
        return self.file.endswith(".safetensors")

    def candidates(self, variant: str | None) -> tuple[str, str]:
        """Return the file names to look for: the single file, and the index of a sharded checkpoint."""
        return with_variant(self.file, variant), with_variant(f"{self.file}.index.json", variant)


def with_variant(name: str, variant: str | None) -> str:
    """Insert a variant: fp16 turns `model.safetensors` into `model.fp16.safetensors`."""
    if variant is None:
        return name
    stem, _, suffix = name.rpartition(".")
    return f"{stem}.{variant}.{suffix}"
