"""The targets of the fuzzer: functions of any bytes that raise only where the library is at fault.

A reader may refuse a file by an error of a class that it documents, in one printable line. The bytes of a JSON file are
its content, or, if they start with an "E", edits of a valid one; few random bytes are JSON.
"""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from fuzz.datasets import parquet, shard, table
from fuzz.folders import folder
from hostile.mutations import JUNK, KEYS, places, read_or_refused
from hostile.settings import tokenizer_json

from clip_core import CLIPConfig, CLIPImageProcessor, CLIPTokenizer, CLIPTokenizerFast
from clip_core.images.decoding import decode_image
from clip_core.tokenization.text import hf_clean, hf_words
from clip_core.tokenization.vocabulary import END_OF_TEXT, START_OF_TEXT
from converters.checkpoint import open_checkpoint
from converters.formats import format_named
from support.configs import tiny_config
from support.vocabulary import BOS, EOS, write_openai_file, write_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def edited(valid: Any, edits: bytes) -> Any:
    """Return a JSON value with a change for each four bytes: place, kind, and two that choose what is put there."""
    tree = copy.deepcopy(valid)
    for at in range(0, min(len(edits), 32) - 3, 4):
        place, kind, high, low = edits[at : at + 4]
        there = places(tree)
        path = there[(place * 256 + high) % len(there)]
        new, key = copy.deepcopy(JUNK[low % len(JUNK)]), KEYS[low % len(KEYS)]
        if not path:
            if isinstance(tree, dict):
                tree[key] = copy.deepcopy(JUNK[high % len(JUNK)])
            continue
        holder = tree
        for step in path[:-1]:
            holder = holder[step]
        if kind % 5 == 0:
            del holder[path[-1]]
        elif kind % 5 == 1 and isinstance(holder, dict):
            holder[key] = new
        else:
            holder[path[-1]] = [holder[path[-1]]] if kind % 5 == 2 else new
    return tree


def _json(valid: Any, data: bytes) -> bytes:
    return json.dumps(edited(valid, data[1:])).encode() if data[:1] == b"E" else data


def _weights(name: str) -> Callable[[bytes], None]:
    def target(data: bytes) -> None:
        path = folder(name) / format_named(name).file
        path.write_bytes(data)
        read_or_refused(lambda path: [entry.own() for entry in open_checkpoint(path).entries.values()], path)

    return target


def index(data: bytes) -> None:
    """Read an index of shards."""
    place = folder("index")
    if not (place / "a.safetensors").exists():
        (place / "a.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    valid = {"metadata": {"total_size": 3}, "weight_map": {"logit_scale": "a.safetensors"}}
    (place / "model.safetensors.index.json").write_bytes(_json(valid, data))
    read_or_refused(lambda path: [entry.own() for entry in open_checkpoint(path).entries.values()], place)


def config(data: bytes) -> None:
    """Read a config.json."""
    valid = tiny_config().to_dict() | {
        "id2label": {"0": "a"},
        "label2id": {"a": 0},
        "text_config_dict": {"hidden_size": 40},
    }
    path = folder("config") / "config.json"
    path.write_bytes(_json(json.loads(json.dumps(valid)), data))
    read_or_refused(lambda path: CLIPConfig.from_pretrained(path).to_json_string(), path)


def preprocessor(data: bytes) -> None:
    """Read a preprocessor_config.json."""
    valid = json.loads(CLIPImageProcessor(size={"height": 8, "width": 8}, crop_size=6).to_json_string())
    path = folder("preprocessor") / "preprocessor_config.json"
    path.write_bytes(_json(valid, data))

    def read(path: Path) -> None:
        processor = CLIPImageProcessor.from_pretrained(path)
        processor.to_json_string()
        processor(np.zeros((9, 8, 3), np.uint8), return_tensors="np")

    read_or_refused(read, path)


def image(data: bytes) -> None:
    """Read an image file."""
    read_or_refused(lambda content: np.asarray(decode_image(content, "cat.jpg", max_pixels=2**20)), data)


_SETTINGS = {
    "added_tokens_decoder": {"530": {"content": "<a>", "lstrip": False, "special": True}},
    "bos_token": START_OF_TEXT,
    "pad_token": {"content": "!", "single_word": False},
    "model_max_length": 77,
    "extra_special_tokens": {"image_token": "<a>"},
    "chat_template": [{"name": "default", "template": "x"}],
}


def tokenizer_files(data: bytes) -> None:
    """Read a file of a tokenizer; the first byte chooses which."""
    name = ("tokenizer_config.json", "tokenizer.json", "vocab.json", "merges.txt", "bpe_simple_vocab_16e6.txt")[
        data[0] % 5 if data else 0
    ]
    place = folder(name)
    if name.startswith("bpe"):
        write_openai_file(place / name)
    else:
        write_vocabulary(place)
    valid = {"tokenizer_config.json": _SETTINGS, "tokenizer.json": tokenizer_json()}.get(name, {"a": 0})
    (place / name).write_bytes(_json(valid, data[1:]))

    def read(place: Path) -> None:
        for cls in (CLIPTokenizer, CLIPTokenizerFast):
            cls.from_pretrained(place)("a cat, an hour!", padding="max_length", max_length=9, truncation=True)

    read_or_refused(read, place)


@cache
def _tokenizers() -> tuple[CLIPTokenizer, CLIPTokenizerFast]:
    files = write_vocabulary(folder("vocabulary"))
    return CLIPTokenizer(**files), CLIPTokenizerFast(**files)


def text(data: bytes) -> None:
    """Read a text: both tokenizers give equal ids, whose decoded text is the normalized one.

    Bytes that are not UTF-8 become replacement characters or, with an odd first byte, lone surrogates.
    """
    given = data[1:].decode("utf-8", "surrogateescape" if data[:1] and data[0] % 2 else "replace")
    answers = []
    for tokenizer in _tokenizers():
        try:
            answers.append(tokenizer(given)["input_ids"])
        except ValueError as error:
            answers.append(type(error))
    assert answers[0] == answers[1], (given, answers)
    if answers[0] is ValueError or START_OF_TEXT in given.lower() or END_OF_TEXT in given.lower():
        return
    ids = answers[0]
    assert (ids[0], ids[-1]) == (BOS, EOS)
    normalized = " ".join(hf_words(hf_clean([given]))).strip()
    for tokenizer in _tokenizers():
        assert tokenizer.decode(ids, skip_special_tokens=True) == normalized, given


_READERS = (index, config, preprocessor, image, tokenizer_files, text, shard, parquet, table)
TARGETS: dict[str, Callable[[bytes], None]] = {
    **{name: _weights(name) for name in ("safetensors", "torch", "tf", "flax")},
    **{target.__name__: target for target in _READERS},
}
