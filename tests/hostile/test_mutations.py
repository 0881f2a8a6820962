"""Mutated files: each is read, or refused by an error of ours that names the file, never by another exception."""

from __future__ import annotations

import json
import os
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hostile.datasets import columns, row, shard, table
from hostile.images import photo
from hostile.mutations import contents, read_or_refused, trees
from hostile.reading import pairs
from hostile.settings import tokenizer_json
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clip_core import CLIPConfig, CLIPImageProcessor, CLIPTokenizer, CLIPTokenizerFast
from clip_core.images.decoding import decode_image
from converters.checkpoint import open_checkpoint
from converters.formats import format_named
from converters.naming.names import to_file
from support.configs import tiny_config
from support.entries import random_entries
from support.training_data import picture_bytes
from support.vocabulary import write_openai_file, write_vocabulary

if TYPE_CHECKING:
    from pathlib import Path

# `HOSTILE_EXAMPLES=5000` searches longer.
few = settings(
    max_examples=int(os.environ.get("HOSTILE_EXAMPLES", "30")),
    deadline=None,
    derandomize="HOSTILE_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def weights(path: Path) -> None:
    for entry in open_checkpoint(path).entries.values():
        entry.own()


@cache
def valid(name: str, folder: Path) -> bytes:
    format_ = format_named(name)
    config = tiny_config({"num_hidden_layers": 1}, {"num_hidden_layers": 1})
    format_.write(folder / format_.file, to_file(random_entries(config, "CLIPModel", np.float16), format_.layout))
    return (folder / format_.file).read_bytes()


@pytest.mark.parametrize("name", ["safetensors", "torch", "flax"])  # HDF5 is read by its own library, in C
@few
@given(data=st.data())
def test_bytes_of_weights(tmp_path_factory, name, data):
    folder = tmp_path_factory.getbasetemp() / "mutated"
    folder.mkdir(exist_ok=True)
    original = valid(name, folder)
    length = int.from_bytes(original[:8], "little") + 8 if name == "safetensors" else 3000
    # Values may be anything; the structure lies at the start, and for PyTorch also at the end.
    part = data.draw(st.sampled_from([slice(0, length), slice(-3000, None)]))
    start, stop, _ = part.indices(len(original))
    changed = original[:start] + data.draw(contents(original[start:stop])) + original[stop:]
    path = folder / format_named(name).file
    path.write_bytes(changed)
    read_or_refused(weights, path)


@few
@given(data=st.data())
def test_headers_of_safetensors(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "mutated"
    folder.mkdir(exist_ok=True)
    original = valid("safetensors", folder)
    size = int.from_bytes(original[:8], "little")
    header = json.dumps(data.draw(trees(json.loads(original[8 : 8 + size])))).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + original[8 + size :])
    read_or_refused(weights, folder / "model.safetensors")


DATASETS = {
    "tar": shard(("a.txt", b"a cat"), ("b.png", picture_bytes(2)), ("b.json", b'{"text": ["a", "b"]}')),
    "parquet": columns(image=[{"bytes": picture_bytes(1), "path": "a"}] * 3, text=["a", "b", "c"]),
    "jsonl": row(b'"a.png"'),
    "csv": table("x.csv", b'file_name,text\na.png,"a, b"\n'),
}


@pytest.mark.parametrize("name", DATASETS)
@few
@given(data=st.data())
def test_bytes_of_datasets(tmp_path_factory, name, data):
    folder = tmp_path_factory.getbasetemp() / f"mutated-{name}"
    folder.mkdir(exist_ok=True)
    path = DATASETS[name](folder)
    original = path.read_bytes()
    start = data.draw(st.sampled_from([0, max(0, len(original) - 900)]))  # Parquet describes itself at the end
    path.write_bytes(original[:start] + data.draw(contents(original[start:])))
    read_or_refused(pairs, path)


CONFIG = tiny_config().to_dict() | {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}, "dtype": "float16"}
CONFIG["text_config"] |= {"pruned_heads": {"0": [1]}}
CONFIG |= {"text_config_dict": {"hidden_size": 40}, "architectures": ["CLIPModel"]}


@few
@given(content=trees(json.loads(json.dumps(CONFIG))))
def test_configurations(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "config.json"
    path.write_text(json.dumps(content))

    def read(path):
        config = CLIPConfig.from_pretrained(path)
        config.to_json_string()
        config.to_diff_dict()

    read_or_refused(read, path)


@few
@given(content=trees(json.loads(CLIPImageProcessor(size={"height": 8, "width": 8}, crop_size=6).to_json_string())))
def test_image_processors(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "preprocessor_config.json"
    path.write_text(json.dumps(content))

    def read(path):
        processor = CLIPImageProcessor.from_pretrained(path)
        processor.to_json_string()
        processor(np.zeros((9, 8, 3), np.uint8), return_tensors="np")

    read_or_refused(read, path)


SETTINGS = {
    "added_tokens_decoder": {"530": {"content": "<a>", "lstrip": False, "special": True}},
    "additional_special_tokens": ["<a>"],
    "bos_token": "<|startoftext|>",
    "pad_token": {"content": "!", "single_word": False},
    "model_max_length": 77,
    "padding_side": "left",
    "clean_up_tokenization_spaces": True,
    "errors": "replace",
    "extra_special_tokens": {"image_token": "<a>"},
    "model_input_names": ["input_ids"],
    "chat_template": [{"name": "default", "template": "x"}],
}
SPECIAL = {
    "bos_token": "<|startoftext|>",
    "unk_token": {"content": "<|endoftext|>"},
    "additional_special_tokens": ["an"],
}


def encode(folder: Path) -> None:
    for cls in (CLIPTokenizer, CLIPTokenizerFast):
        cls.from_pretrained(folder)("a cat, an hour!", padding="max_length", max_length=9, truncation=True)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "vocab.json"])
@few
@given(data=st.data())
def test_tokenizers(tmp_path_factory, name, data):
    folder = tmp_path_factory.getbasetemp() / "tokenizer" / name
    folder.mkdir(parents=True, exist_ok=True)
    write_vocabulary(folder)
    original = {
        "tokenizer_config.json": SETTINGS,
        "special_tokens_map.json": SPECIAL,
        "tokenizer.json": tokenizer_json() | {"added_tokens": [{"id": 530, "content": "<a>", "special": True}]},
        "vocab.json": json.loads((folder / "vocab.json").read_text()),
    }[name]
    (folder / name).write_text(json.dumps(data.draw(trees(original))))
    read_or_refused(encode, folder)


@pytest.mark.parametrize("name", ["merges.txt", "bpe_simple_vocab_16e6.txt", "bpe_simple_vocab_16e6.txt.gz"])
@few
@given(data=st.data())
def test_vocabularies(tmp_path_factory, name, data):
    folder = tmp_path_factory.getbasetemp() / "vocabulary" / name
    folder.mkdir(parents=True, exist_ok=True)
    if name == "merges.txt":
        write_vocabulary(folder)
    else:
        write_openai_file(folder / name)
    (folder / name).write_bytes(data.draw(contents((folder / name).read_bytes())))
    read_or_refused(encode, folder)


@few
@given(content=contents(photo(exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\x06\0\0")))
def test_images(content):
    read_or_refused(lambda name: decode_image(content, name), "cat.jpg")


@few
@given(content=trees({"metadata": {"total_size": 3}, "weight_map": {"logit_scale": "a.safetensors"}}))
def test_indexes(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp() / "index"
    folder.mkdir(exist_ok=True)
    (folder / "a.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))
    read_or_refused(weights, folder)
