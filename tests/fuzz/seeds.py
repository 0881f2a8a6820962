"""Write the first inputs of each target into the corpus: small valid files, and texts of several scripts."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from hostile.images import photo
from hostile.settings import tokenizer_json
from pyarrow import parquet

from clip_core import CLIPImageProcessor
from clip_core.tasks.embedding.parts import part_schema
from converters.formats import format_named
from converters.naming.names import to_file
from support.entries import entry
from support.training_data import picture_bytes

CORPUS = Path(__file__).parent / "corpus"
_ARRAYS = {
    "logit_scale": np.ones((), np.float32),
    "text_projection.weight": np.ones((2, 3), np.float16),
    "vision_model.embeddings.class_embedding": np.ones(3, np.float32),
}
_TEXTS = (
    "A photo of a cat, isn't it?",
    "caf\u00e9 \ufb01 \u1e9e",
    "\u732b\u306e\u5199\u771f",
    "\U0001f408\u200d\u2b1b",
    "a\u0301 <|x|> \u0130",
    "12 \u0664\u00bd",
)


def seeds() -> dict[str, list[bytes]]:
    """Return the seeds of each target."""
    found: dict[str, list[bytes]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("safetensors", "torch", "tf", "flax"):
            path = Path(folder) / format_named(name).file
            format_named(name).write(
                path, to_file({key: entry(array) for key, array in _ARRAYS.items()}, format_named(name).layout)
            )
            found[name] = [path.read_bytes()]
    edits = [b"E", b"E\x00\x00\x01\x05", b"E\x03\x02\x00\x02", b"E\x05\x01\x00\x03\x07\x03\x00\x09"]
    found["index"] = [b'{"weight_map": {"a": "a.safetensors"}}', *edits]
    found["config"] = [b'{"model_type": "clip", "text_config": {"hidden_size": 4}}', *edits]
    found["preprocessor"] = [CLIPImageProcessor().to_json_string().encode(), *edits]
    found["image"] = [photo(), photo(exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\x06\0\0"), *_pictures()]
    files = [
        json.dumps({"pad_token": "!"}).encode(),
        json.dumps(tokenizer_json() | {"normalizer": None})[:400].encode(),
    ]
    files += [b'{"a": 0, "b": 1}', b"#version: 0.2\na b\n", b'"bpe_simple_vocab_16e6.txt#version: 0.2\na b\n']
    found["tokenizer_files"] = [bytes([place]) + content for place, content in enumerate(files)]
    found["tokenizer_files"] += [bytes([place]) + edit for place in (0, 1) for edit in edits]
    found["text"] = [first + text.encode() for first in (b"\0", b"\1") for text in _TEXTS]
    found |= _datasets()
    return found


def _datasets() -> dict[str, list[bytes]]:
    """Return shards, Parquet files and tables, and a part of a dataset of embeddings."""
    files = {"a.png": picture_bytes(1), "a.txt": b"a cat", "b.png": picture_bytes(2), "b.json": b'{"text": ["a", "b"]}'}
    found: dict[str, list[bytes]] = {"shard": [], "parquet": []}
    for mode in ("w", "w:gz", "w:xz"):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode=mode) as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        found["shard"].append(stream.getvalue()[:-4096] if mode == "w" else stream.getvalue())  # not all of its zeros
    images = [{"bytes": picture_bytes(number), "path": "a"} for number in range(3)]
    tables = [
        pa.table({"image": images, "text": [["a"], ["b", "c"], ["d"]], "label": pa.array([1, 2, None], pa.int8())}),
        pa.table({"image": ["a.png", "../b.png"], "text": pa.array(["a", "b"]).dictionary_encode()}),
        _part(),
    ]
    for one in tables:
        stream = io.BytesIO()
        parquet.write_table(one, stream)
        found["parquet"].append(stream.getvalue())
    texts = [
        b'{"file_name": "a.png", "text": "a"}\n',
        b'file_name,text\na.png,"a, b"\n',
        b"file_name\ttext\na.png\ta\n",
        b"a cat\na dog\n",
        b'{"a.png": "a cat"}',
        b"a photo of a {}\n",
    ]
    found["table"] = [bytes([place]) + content for place, content in enumerate(texts)]
    return found


def _part() -> pa.Table:
    schema = part_schema(pa.schema([]), 2, "float32")
    values = ["a", [0.6, 0.8], "a.png", 4, 0, "2024-06-30T12:00:00", bytes(32), bytes(32), 1, 1]
    return pa.table([pa.array([value], field.type) for value, field in zip(values, schema, strict=True)], schema=schema)


def _pictures() -> list[bytes]:
    from PIL import Image

    written = []
    for kind, mode in (("PNG", "LA"), ("GIF", "P"), ("BMP", "RGB"), ("WEBP", "RGBA"), ("TIFF", "I;16"), ("PPM", "L")):
        stream = io.BytesIO()
        Image.new(mode, (5, 4)).save(stream, kind)
        written.append(stream.getvalue())
    return written


def main() -> None:
    """Write the seeds, each under its hash."""
    for name, contents in seeds().items():
        (CORPUS / name).mkdir(parents=True, exist_ok=True)
        for content in contents:
            (CORPUS / name / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)


if __name__ == "__main__":
    main()
