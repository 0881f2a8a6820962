"""Hostile configurations and tokenizers: the JSON and text files beside the weights."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any

from hostile.catalogue import Hostile
from hostile.formats import safetensors, tensor

from support.vocabulary import IDS, MERGES, write_openai_file, write_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONFIG: dict[str, Any] = {"model_type": "clip", "text_config": {}, "vision_config": {}}


def config(content: Any = None, *, text: Any = None, vision: Any = None, **more: Any) -> Callable[[Path], Path]:
    """Return a maker of a config.json, given as bytes or by what differs from a valid one."""
    whole = {**CONFIG, "text_config": text or {}, "vision_config": vision or {}, **more}
    encoded = content if isinstance(content, bytes) else json.dumps(whole if content is None else content).encode()

    def make(folder: Path) -> Path:
        (folder / "config.json").write_bytes(encoded)
        return folder

    return make


def with_weights(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
    def both(folder: Path) -> Path:
        safetensors(tensor(name="text_model.embeddings.token_embedding.weight"))(folder)
        return make(folder)

    return both


def tokenizer_json() -> dict[str, Any]:
    """Return a valid tokenizer.json."""
    from clip_core.tokenization.vocabulary import NORMALIZER, WORD_PATTERN

    split = {"type": "Split", "behavior": "Removed", "invert": True, "pattern": {"Regex": WORD_PATTERN}}
    steps = [split, {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}]
    return {
        "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": list(NORMALIZER)},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "model": {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": IDS, "merges": [list(pair) for pair in MERGES]},
    }


def fast(model: dict[str, Any] | None = None, **more: Any) -> Callable[[Path], Path]:
    """Return a maker of a tokenizer.json, by what differs from a valid one."""

    def make(folder: Path) -> Path:
        content = tokenizer_json() | more
        content["model"] = content["model"] | (model or {}) if isinstance(content["model"], dict) else content["model"]
        (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
        return folder

    return make


def slow(**more: Any) -> Callable[[Path], Path]:
    """Return a maker of a vocabulary, and a tokenizer_config.json with some entries."""

    def make(folder: Path) -> Path:
        write_vocabulary(folder)
        (folder / "tokenizer_config.json").write_text(json.dumps(more), encoding="utf-8")
        return folder

    return make


def file(name: str, content: bytes, *, beside: bool = False) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        if beside:
            write_vocabulary(folder)
        (folder / name).write_bytes(content)
        return folder

    return make


def openai(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = write_openai_file(folder / "bpe_simple_vocab_16e6.txt.gz")
        path.write_bytes(change(path.read_bytes()))
        return folder

    return make


def open_clip(content: Any) -> Callable[[Path], Path]:
    return with_weights(file("open_clip_config.json", json.dumps(content).encode()))


def sparse(folder: Path) -> Path:
    """Write a config.json of 16 GB that takes no room."""
    with (folder / "config.json").open("wb") as out:
        out.truncate(2**34)
    return folder


_CONFIG = {"error": "ValueError", "read": "config"}
_TOKENS = {"error": "ValueError", "read": "tokenizer"}
_COMMAND = {"error": "CommandError", "read": "inspect"}
_ESCAPE = "\x1b[2J\x1b]0;owned\x07"

FILES = [
    Hostile("128 MB of spaces", config(b" " * 2**27 + b"{}"), "TooLargeError", "config"),
    Hostile("a config.json of 16 GB that was never written", sparse, "TooLargeError", "config"),
    Hostile("a million empty lists", config(b'{"a": [' + b"[]," * 2_500_000 + b"[]]}"), **_CONFIG),
    Hostile("lists nested 100,000 deep", config(b"[" * 100_000), **_CONFIG),
    Hostile("a number of 5,000 digits", config(b'{"text_config": {"hidden_size": ' + b"9" * 5000 + b"}}"), **_CONFIG),
    Hostile("a number beyond all floats", config(text={"layer_norm_eps": 10**400}), **_CONFIG),
    Hostile("NaN", config(b'{"text_config": {"layer_norm_eps": NaN}}'), **_CONFIG),
    Hostile("a config.json of UTF-16", config('{"model_type": "clip"}'.encode("utf-16")), **_CONFIG),
    Hostile("10**9 layers", config(text={"num_hidden_layers": 10**9}), **_CONFIG),
    Hostile("10**9 layers beside weights", with_weights(config(text={"num_hidden_layers": 10**9})), **_COMMAND),
    Hostile("1,000 layers beside weights", with_weights(config(text={"num_hidden_layers": 1000})), "", "inspect"),
    Hostile(
        "10**9 heads",
        config(text={"num_attention_heads": 10**9, "hidden_size": 10**9, "pruned_heads": {"0": [1]}}),
        "",
        "config",
    ),
    Hostile("10**30 heads", config(text={"num_attention_heads": 10**30, "hidden_size": 10**30}), **_CONFIG),
    Hostile("10**9 labels", config(num_labels=10**9), **_CONFIG),
    Hostile("labels of lists", config(id2label={"0": ["a"]}), **_CONFIG),
    Hostile("labels of a list", config(id2label=["a"]), **_CONFIG),
    Hostile("label numbers of lists", config(label2id={"a": []}, id2label={"0": "a"}), **_CONFIG),
    Hostile("a number of labels that is a list", config(num_labels=[1], id2label={"0": "a"}), **_CONFIG),
    Hostile("pruned heads that are a number", config(text={"pruned_heads": {"0": 5}}), **_CONFIG),
    Hostile("pruned heads that are lists", config(text={"pruned_heads": {"0": [[1]]}}), **_CONFIG),
    Hostile("pruned heads of a text", config(text={"pruned_heads": {"0": "ab"}}), **_CONFIG),
    Hostile("pruned heads that are a list", config(text={"pruned_heads": [1]}), **_CONFIG),
    Hostile("a key named self", config(self=1), **_CONFIG),
    Hostile("a tower's key named self", config(text={"self": 1}), **_CONFIG),
    Hostile("a key named __class__", config(vision={"__class__": "x"}), **_CONFIG),
    Hostile("a key named __dict__", config(__dict__={}), **_CONFIG),
    Hostile("a key named validate", config(text={"validate": 1}), **_CONFIG),
    Hostile("a key named to_dict", config(to_dict=1), **_CONFIG),
    Hostile("a key named _dtype", config(_dtype=[1]), **_CONFIG),
    Hostile("a key named _attention", config(text={"_attention": [1]}), **_CONFIG),
    Hostile("a tower that is a list", config(vision=[1]), **_CONFIG),
    Hostile("an activation that is a list", config(text={"hidden_act": ["gelu"]}), **_CONFIG),
    Hostile("an activation of 5 MB", config(text={"hidden_act": "x" * 5_000_000}), **_CONFIG),
    Hostile("an activation with escapes", config(text={"hidden_act": _ESCAPE}), **_CONFIG),
    Hostile("a width with escapes", config(text={"hidden_size": _ESCAPE}), **_CONFIG),
    Hostile("a dtype that is a map", config(dtype={"a": 1}), **_CONFIG),
    Hostile("a model type that is a list", config(model_type=[["clip"]]), **_CONFIG),
    Hostile("a model type with escapes", config(model_type=_ESCAPE), **_CONFIG),
    Hostile("architectures of numbers", config(architectures=[1]), **_CONFIG),
    Hostile("a model type with escapes beside weights", with_weights(config(model_type=_ESCAPE)), **_COMMAND),
    Hostile("a key with escapes beside weights", with_weights(config(**{_ESCAPE: 1})), "", "inspect"),
    Hostile("an open_clip_config.json of lists", open_clip({"model_cfg": []}), **_COMMAND),
    Hostile(
        "an open_clip_config.json of texts",
        open_clip({"model_cfg": {"embed_dim": "x", "vision_cfg": "y", "text_cfg": 3}}),
        **_COMMAND,
    ),
    Hostile("a broken gzip", openai(lambda content: content[:20] + b"\xff" * 20 + content[40:]), **_TOKENS),
    Hostile("a cut gzip", openai(lambda content: content[:-20]), **_TOKENS),
    Hostile("a gzip of another method", openai(lambda content: content[:2] + b"\x07" + content[3:]), **_TOKENS),
    Hostile("a gzip bomb", openai(lambda _: gzip.compress(b"\n" * 10**9, 1)), **_TOKENS),
    Hostile("a gzip that is none", openai(lambda _: zlib.compress(b"x")), **_TOKENS),
    Hostile("a merges.txt of 100 MB", file("merges.txt", b"\n" * 10**8, beside=True), **_TOKENS),
    Hostile("a merges.txt of one line", file("merges.txt", b"x" * 10**6, beside=True), **_TOKENS),
    Hostile("a merges.txt with escapes", file("merges.txt", _ESCAPE.encode() * 9, beside=True), **_TOKENS),
    Hostile("a vocab.json of lists", file("vocab.json", b'{"a": [1]}', beside=True), **_TOKENS),
    Hostile("an id of 10**20", file("vocab.json", b'{"a": 100000000000000000000}', beside=True), **_TOKENS),
    Hostile("a vocabulary that is a list", fast({"vocab": [1]}), **_TOKENS),
    Hostile("an id of 2**40 in tokenizer.json", fast({"vocab": {**IDS, "a b": 2**40}}), **_TOKENS),
    Hostile("merges that are a number", fast({"merges": 3}), **_TOKENS),
    Hostile("merges of numbers", fast({"merges": [[1, 2]]}), **_TOKENS),
    Hostile("a model that is a list", file("tokenizer.json", b'{"model": [1]}'), **_TOKENS),
    Hostile("a normalizer that is a text", fast(normalizer="x"), **_TOKENS),
    Hostile("normalizers that are numbers", fast(normalizer={"normalizers": 3}), **_TOKENS),
    Hostile("a pre-tokenizer that is a list", fast(pre_tokenizer=[1]), **_TOKENS),
    Hostile("pre-tokenizers of numbers", fast(pre_tokenizer={"pretokenizers": [1]}), **_TOKENS),
    Hostile("added tokens that are a number", fast(added_tokens=3), **_TOKENS),
    Hostile("added tokens without ids", fast(added_tokens=[{"content": "a"}]), **_TOKENS),
    Hostile("added tokens of numbers", fast(added_tokens=[1]), **_TOKENS),
    Hostile("an added token of 2**40", fast(added_tokens=[{"id": 2**40, "content": "new"}]), **_TOKENS),
    Hostile("an added token of texts", fast(added_tokens=[{"id": 9999, "content": "new", "lstrip": "x"}]), **_TOKENS),
    Hostile("a setting named self", slow(self=1), **_TOKENS),
    Hostile("a setting named cls", slow(cls=1), **_TOKENS),
    Hostile("a setting named __class__", slow(__class__="x"), **_TOKENS),
    Hostile("a setting named encode", slow(encode=1), **_TOKENS),
    Hostile("a setting named table", slow(extra_special_tokens={"table": "x"}), "", "tokenizer"),
    Hostile("a path as tokenizer_object", slow(tokenizer_object="/etc/passwd"), "", "tokenizer"),
    Hostile("a padding side that is a list", slow(padding_side=["left"]), **_TOKENS),
    Hostile("errors that are a number", slow(errors=3), **_TOKENS),
    Hostile("errors that are unknown", slow(errors=_ESCAPE), **_TOKENS),
    Hostile(
        "a length of infinity", file("tokenizer_config.json", b'{"model_max_length": Infinity}', beside=True), **_TOKENS
    ),
    Hostile("a length of a text", slow(model_max_length="77"), **_TOKENS),
    Hostile("a token that is a number", slow(pad_token=3), **_TOKENS),
    Hostile("a token that is a list", slow(bos_token=["a"]), **_TOKENS),
    Hostile("a token of half a surrogate pair", slow(pad_token="\ud800"), **_TOKENS),  # noqa: S106
    Hostile("special tokens of numbers", slow(additional_special_tokens=[1]), **_TOKENS),
    Hostile("special tokens that are a map", slow(additional_special_tokens={"a": 1}), **_TOKENS),
    Hostile("extra tokens that are lists", slow(extra_special_tokens={"image_token": [1]}), **_TOKENS),
    Hostile("added tokens with texts for ids", slow(added_tokens_decoder={"x": {"content": "a"}}), **_TOKENS),
    Hostile("added tokens of 2**40", slow(added_tokens_decoder={str(2**40): {"content": "new"}}), **_TOKENS),
    Hostile("names of columns that are a number", slow(model_input_names=3), **_TOKENS),
    Hostile("names of columns that are numbers", slow(model_input_names=[3]), **_TOKENS),
    Hostile("a chat template that is a number", slow(chat_template=3), **_TOKENS),
    Hostile("chat templates without names", slow(chat_template=[{"template": "x"}]), **_TOKENS),
    Hostile("chat templates of numbers", slow(chat_template=[1]), **_TOKENS),
    Hostile("a chat template that is not UTF-8", file("chat_template.jinja", b"\xff", beside=True), **_TOKENS),
    Hostile("a chat template of 100 MB", file("chat_template.jinja", b"x" * 10**8, beside=True), **_TOKENS),
    Hostile("a tokenizer_config.json that is a list", file("tokenizer_config.json", b"[]", beside=True), **_TOKENS),
    Hostile(
        "a special_tokens_map.json of numbers",
        file("special_tokens_map.json", b'{"bos_token": 3}', beside=True),
        **_TOKENS,
    ),
    Hostile("an added_tokens.json of lists", file("added_tokens.json", b'{"new": []}', beside=True), **_TOKENS),
]
