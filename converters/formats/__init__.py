"""The formats that a checkpoint may come in, one module a file format, and the table of them. Internal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from converters.formats import flax_msgpack, openai, safetensors, tf_h5, torch_reading
from converters.naming.rules import FLAX, HUGGING_FACE, OPENAI, TENSORFLOW

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from converters.naming.rules import Layout
    from converters.tensors import TensorEntry


@dataclass(frozen=True)
class Format:
    """How the files of one format are called, read and written.

    Reading does not go by `layout`: files are known by the names in them, since every library writes safetensors.

    Attributes:
        name: the name that a user knows the format by.
        file: the file of a checkpoint that is not sharded; `<file>.index.json` names the shards of one that is.
        suffixes: the endings by which a single file is recognised.
        read: gives the tensors of one file, by the names that stand in it, unread.
        write: writes tensors, by the names that are to stand in it, to one file.
        layout: how the format's library names them.
        libraries: what reads and writes the files, besides clip-zoo.
        sharded: whether those libraries read a checkpoint in several files.
        index_name: the name of a tensor in the index, where it is not that in the file.
    """

    name: str
    file: str
    suffixes: tuple[str, ...]
    read: Callable[[Path], Mapping[str, TensorEntry]]
    write: Callable[[Path, Mapping[str, TensorEntry]], None]
    layout: Layout
    libraries: str
    sharded: bool = True
    index_name: Callable[[str], str] = str

    def candidates(self, variant: str | None) -> tuple[str, str]:
        """The file names to look for: the single file, and the index of a sharded checkpoint."""
        return with_variant(self.file, variant), with_variant(f"{self.file}.index.json", variant)


# In the order of preference where a folder holds several.
FORMATS = (
    Format(
        "safetensors",
        "model.safetensors",
        (".safetensors",),
        safetensors.read,
        safetensors.write,
        HUGGING_FACE,
        "transformers",
    ),
    Format(
        "torch",
        "pytorch_model.bin",
        (".bin", ".pt", ".pth"),
        torch_reading.read,
        torch_reading.write,
        HUGGING_FACE,
        "transformers (PyTorch)",
    ),
    Format(
        "open_clip",
        "open_clip_model.safetensors",
        (),
        safetensors.read,
        safetensors.write,
        OPENAI,
        "open_clip",
        sharded=False,
    ),
    Format(
        "open_clip-torch",
        "open_clip_pytorch_model.bin",
        (),
        torch_reading.read,
        torch_reading.write,
        OPENAI,
        "open_clip",
        sharded=False,
    ),
    Format(
        "tf",
        "tf_model.h5",
        (".h5",),
        tf_h5.read,
        tf_h5.write,
        TENSORFLOW,
        "transformers up to 4.57 (TensorFlow)",
        index_name=tf_h5.name_in_index,
    ),
    Format(
        "flax",
        "flax_model.msgpack",
        (".msgpack",),
        flax_msgpack.read,
        flax_msgpack.write,
        FLAX,
        "transformers up to 4.57 (Flax)",
    ),
    Format(
        "openai", "model.pt", (), torch_reading.read, openai.write, OPENAI, "OpenAI's clip, open_clip", sharded=False
    ),
)
BY_NAME = {format_.name: format_ for format_ in FORMATS}


def with_variant(name: str, variant: str | None) -> str:
    """`model.safetensors` to `model.fp16.safetensors`, for the variant fp16."""
    if variant is None:
        return name
    stem, _, suffix = name.rpartition(".")
    return f"{stem}.{variant}.{suffix}"
