"""A small vocabulary: all bytes, some merges, the two special tokens; and the path of a real one."""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path

import pytest

from clip_core.tokenization.vocabulary import BYTE_TO_CHARACTER, END_OF_TEXT, START_OF_TEXT

MERGES = [
    ("i", "n"),
    ("t", "h"),
    ("a", "n"),
    ("c", "a"),
    ("th", "e</w>"),
    ("in", "g</w>"),
    ("ca", "t</w>"),
    ("an", "d</w>"),
    ("l", "l</w>"),
    ("'", "s</w>"),
    ("\u00c3", "\u00a9</w>"),
    ("!", "!"),
    ("!", "!</w>"),
]
SYMBOLS = list(BYTE_TO_CHARACTER.values())
TOKENS = [*SYMBOLS, *(symbol + "</w>" for symbol in SYMBOLS), *map("".join, MERGES), START_OF_TEXT, END_OF_TEXT]
IDS = {token: place for place, token in enumerate(TOKENS)}
BOS, EOS = IDS[START_OF_TEXT], IDS[END_OF_TEXT]


def write_vocabulary(folder: Path) -> dict[str, Path]:
    """Write vocab.json and merges.txt; returns the arguments that take them."""
    vocab_file, merges_file = folder / "vocab.json", folder / "merges.txt"
    vocab_file.write_text(json.dumps(IDS), encoding="utf-8")
    merges_file.write_text("\n".join(["#version: 0.2", *map(" ".join, MERGES), ""]), encoding="utf-8")
    return {"vocab_file": vocab_file, "merges_file": merges_file}


def write_openai_file(path: Path) -> Path:
    """Write the same as OpenAI keeps its vocabulary, gzipped where the name ends in .gz."""
    text = "\n".join(['"bpe_simple_vocab_16e6.txt#version: 0.2', *map(" ".join, MERGES), ""]).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def openai_package() -> Path:
    """Return the folder of OpenAI's code and vocabulary in the package clip-anytorch."""
    spec = importlib.util.find_spec("clip")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else None
    if folder is None or not (folder / "simple_tokenizer.py").is_file():
        pytest.skip("needs OpenAI's tokenizer, which the package clip-anytorch holds")
    return folder
