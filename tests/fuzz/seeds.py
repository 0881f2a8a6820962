"""Write the first inputs of each target into the corpus: small valid files, and texts of several scripts."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
from hostile.images import photo
from hostile.settings import tokenizer_json

from clip_core import CLIPImageProcessor
from converters.formats import format_named
from converters.naming.names import to_file
from support.entries import entry

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
    return found


def _pictures() -> list[bytes]:
    import io

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
