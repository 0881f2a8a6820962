"""The table of checkpoint formats, with one module per file format. Internal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.formats import flax_msgpack, safetensors, tf_h5, torch_reading, torch_writing
from converters.formats.format import Format
from converters.naming.rules import FLAX, HUGGING_FACE, OPENAI, TENSORFLOW, Layout
from converters.sidecars.open_clip import OPEN_CLIP_FILES
from converters.sidecars.openai import OPENAI_FILES

if TYPE_CHECKING:
    from converters.sidecars.companions import Companions

# If a folder contains several formats, the first in this table is read. Everything that depends on a format reads its
# row.
FORMATS = [
    Format(
        "safetensors",
        "model.safetensors",
        (".safetensors",),
        safetensors.read,
        safetensors.write,
        HUGGING_FACE,
        "transformers",
        metadata=safetensors.metadata,
    ),
    Format(
        "torch",
        "pytorch_model.bin",
        (".bin", ".pt", ".pth", ".ckpt"),
        torch_reading.read,
        torch_writing.write,
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
        companions=OPEN_CLIP_FILES,
        sharded=False,
        metadata=safetensors.metadata,
    ),
    Format(
        "open_clip-torch",
        "open_clip_pytorch_model.bin",
        (),
        torch_reading.read,
        torch_writing.write,
        OPENAI,
        "open_clip",
        companions=OPEN_CLIP_FILES,
        sharded=False,
        written=False,
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
        dtypes=tuple(dtype.name for dtype in tf_h5.DTYPES),
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
        "openai",
        "model.pt",
        (),
        torch_reading.read,
        torch_writing.write_openai,
        OPENAI,
        "OpenAI's clip, open_clip",
        companions=OPENAI_FILES,
        sharded=False,
    ),
]


def format_named(name: str) -> Format:
    """Return a format by name.

    Raises:
        ValueError: no format has this name.
    """
    for format_ in FORMATS:
        if format_.name == name:
            return format_
    raise ValueError(f"format={name!r} is unknown; give one of {', '.join(format_.name for format_ in FORMATS)}")


def target_names() -> list[str]:
    """Return the names of the formats that can be written."""
    return [format_.name for format_ in FORMATS if format_.written]


def companions_of(layout: Layout) -> list[Companions]:
    """Return the companions of all formats without duplicates; those of formats in this layout come first."""
    own = [format_.companions for format_ in FORMATS if format_.layout is layout]
    return list(dict.fromkeys([*own, *(format_.companions for format_ in FORMATS)]))


def layouts() -> list[Layout]:
    """Return the layouts of all formats without duplicates; Hugging Face's comes first."""
    return list(dict.fromkeys(format_.layout for format_ in FORMATS))
