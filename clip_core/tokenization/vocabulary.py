"""The vocabulary of a byte-level byte-pair encoding: its alphabet, and its files in all formats.

Each byte is one visible character of the alphabet, and `</w>` ends a word.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_core.configuration.arguments import LARGEST, dict_of, list_of, to_int
from clip_core.hub.files import read_json, read_lines
from clip_core.hub.printing import shortened

if TYPE_CHECKING:
    import os

    StrPath = str | os.PathLike[str]

END_OF_WORD, START_OF_TEXT, END_OF_TEXT = "</w>", "<|startoftext|>", "<|endoftext|>"

NO_MAX_LENGTH = int(1e30)  # as in transformers, where any number above 1e20 counts as no maximum length

# In the order of OpenAI's vocabulary, which starts with the bytes that are visible characters themselves.
_VISIBLE = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
_HIDDEN = [byte for byte in range(256) if byte not in _VISIBLE]
BYTE_TO_CHARACTER = {byte: chr(byte) for byte in _VISIBLE}
BYTE_TO_CHARACTER |= {byte: chr(256 + place) for place, byte in enumerate(_HIDDEN)}
CHARACTER_TO_BYTE = {character: byte for byte, character in BYTE_TO_CHARACTER.items()}
_OF_LATIN_1 = {byte: ord(character) for byte, character in BYTE_TO_CHARACTER.items()}

VOCAB_FILE, MERGES_FILE, TOKENIZER_FILE = "vocab.json", "merges.txt", "tokenizer.json"
OPENAI_FILES = ("bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt")

# OpenAI's file contains more merges than its vocabulary of 49,152 uses: 256 bytes twice and two signs come first.
_OPENAI_MERGES = 49152 - 256 - 2
_MERGES_HEADER = "#version"

NORMALIZER = ({"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}, {"type": "Lowercase"})
WORD_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
# Many files, including those of OpenAI's checkpoints, keep the two signs intact in lower-cased text.
WORDS_AND_SIGNS = rf"<\|startoftext\|>|<\|endoftext\|>|{WORD_PATTERN}"

# Settings of a BPE model that CLIP does not use.
_OTHER_MODELS = ("dropout", "continuing_subword_prefix", "fuse_unk", "byte_fallback", "ignore_merges")


def to_symbols(text: str) -> str:
    """Return the UTF-8 bytes of a text, each written as its character."""
    return text.encode("utf-8").decode("latin-1").translate(_OF_LATIN_1)


def to_bytes(token: str) -> bytes:
    """Return the bytes that a token represents; a token with other characters is treated as plain text."""
    try:
        return bytes([CHARACTER_TO_BYTE[character] for character in token])
    except KeyError:
        return token.encode("utf-8")


def read_text_steps(content: dict[str, Any], path: StrPath) -> bool:
    """Return True if the word pattern of a tokenizer.json names the two signs.

    Raises:
        ValueError: the file does not clean and split texts like CLIP's tokenizers.
    """
    model = content["model"]
    split, *rest = list_of(dict, dict_of(content, "pre_tokenizer").get("pretokenizers"), "pretokenizers") or [{}]
    split_alike = {"type": "Split", "behavior": "Removed", "invert": True}
    patterns = [{"Regex": WORD_PATTERN}, {"Regex": WORDS_AND_SIGNS}]
    is_like_clip = {
        "model": not any(map(model.get, _OTHER_MODELS)) and model.get("end_of_word_suffix") == END_OF_WORD,
        "normalizer": (*list_of(dict, dict_of(content, "normalizer").get("normalizers"), "normalizers"),) == NORMALIZER,
        "pre_tokenizer": split in [{**split_alike, "pattern": pattern} for pattern in patterns]
        and [(step.get("type"), step.get("add_prefix_space", False)) for step in rest] == [("ByteLevel", False)],
    }
    if wrong := [name for name, is_like in is_like_clip.items() if not is_like]:
        raise ValueError(
            f"{path} is not from a CLIP tokenizer: it has a different {' and '.join(wrong)}. Pass from_slow=True to "
            "from_pretrained to read vocab.json and merges.txt instead, and apply CLIP's own steps"
        )
    return bool(split["pattern"] != patterns[0])


@dataclass
class Vocabulary:
    """Tokens and merges as stored in a file."""

    ids: dict[str, int]  # includes added tokens only if the file lists them with the others
    merges: list[tuple[str, str]]  # the pairs of tokens that merge into one; the first has the highest rank
    added_tokens: dict[int, dict[str, Any]] = field(default_factory=dict)
    model_max_length: int = NO_MAX_LENGTH
    signs_in_pattern: bool = False  # the word pattern of its tokenizer.json names the two signs


def read_vocabulary(
    vocab_file: StrPath | None = None, merges_file: StrPath | None = None, tokenizer_file: Any = None
) -> Vocabulary:
    """Read a vocabulary from tokenizer.json, otherwise from OpenAI's `vocab_file` or vocab.json and merges.txt."""
    if tokenizer_file is not None:
        return read_tokenizer_json(tokenizer_file)
    if vocab_file is not None and Path(vocab_file).suffix in {".gz", ".txt"}:
        return read_openai_file(vocab_file)
    if vocab_file is not None and merges_file is not None:
        ids = _checked_ids(read_json(vocab_file), vocab_file)
        return _checked(Vocabulary(ids, read_merges(merges_file)), merges_file)
    wanted = f"{VOCAB_FILE} and {MERGES_FILE} (vocab_file, merges_file), {TOKENIZER_FILE} (tokenizer_file) or OpenAI's"
    raise ValueError(f"a tokenizer needs {wanted} {OPENAI_FILES[0]} (vocab_file); got {vocab_file=}, {merges_file=}")


def read_merges(path: StrPath) -> list[tuple[str, str]]:
    """Read the pairs of a merges.txt, the first of which has the highest rank."""
    lines = read_lines(path, MERGES_FILE)
    first = int(lines[0].startswith(_MERGES_HEADER))
    return [_merge(line, path, number) for number, line in enumerate(lines[first:], first + 1) if line]


def read_openai_file(path: StrPath) -> Vocabulary:
    """Read OpenAI's bpe_simple_vocab_16e6.txt, gzipped or not. The order of the merges determines the ids."""
    lines = read_lines(path, OPENAI_FILES[0])
    if _MERGES_HEADER not in lines[0]:
        raise ValueError(f"{path} is not a {OPENAI_FILES[0]}: its first line must end in '{_MERGES_HEADER}: 0.2'")
    merges = [_merge(line, path, number) for number, line in enumerate(lines[1 : _OPENAI_MERGES + 1], 2) if line]
    characters = list(BYTE_TO_CHARACTER.values())
    tokens = [*characters, *(character + END_OF_WORD for character in characters), *map("".join, merges)]
    ids = {token: place for place, token in enumerate([*tokens, START_OF_TEXT, END_OF_TEXT])}
    return _checked(Vocabulary(ids, merges, model_max_length=77), path)  # the limit of all models with this file


def read_tokenizer_json(path: Any) -> Vocabulary:
    """Read the vocabulary and the added tokens of a tokenizer.json, or of the `tokenizers.Tokenizer` made from it."""
    content = json.loads(path.to_str()) if hasattr(path, "to_str") else read_json(path)
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not {"vocab", "merges"} <= model.keys():
        raise ValueError(f"{path} contains no byte-pair encoding, unlike a {TOKENIZER_FILE} of CLIP")
    ids = _checked_ids(model["vocab"], path)
    signs_in_pattern = read_text_steps(content, path)
    merges = [_merge(merge, path, number) for number, merge in enumerate(list_of(object, model["merges"], "merges"))]
    tokens = list_of(dict, content.get("added_tokens"), "added_tokens")
    added_tokens = {to_int("id", token.get("id")): token for token in tokens}
    return _checked(Vocabulary(ids, merges, added_tokens, signs_in_pattern=signs_in_pattern), path)


def vocabulary_contents(ids: dict[str, int], merges: list[tuple[str, str]]) -> dict[str, str]:
    """Return the content of a vocab.json, in the order of the ids, and of a merges.txt."""
    ordered = dict(sorted(ids.items(), key=lambda item: item[1]))
    vocab = json.dumps(ordered, ensure_ascii=False, indent=2) + "\n"
    return {VOCAB_FILE: vocab, MERGES_FILE: "\n".join([f"{_MERGES_HEADER}: 0.2", *map(" ".join, merges)]) + "\n"}


def _merge(merge: Any, path: StrPath, number: int) -> tuple[str, str]:
    parts = merge.split() if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"{path}: merge {number} is {shortened(repr(merge))}; expected two tokens and a space")
    return parts[0], parts[1]


def _checked_ids(ids: Any, path: StrPath) -> dict[str, int]:
    if not isinstance(ids, dict) or not all(type(value) is int and 0 <= value <= LARGEST for value in ids.values()):
        raise ValueError(f"{path} contains no vocabulary; it must map each token to its id")
    if len(set(ids.values())) != len(ids):
        raise ValueError(f"{path} gives the same id to several tokens")
    return ids


def _checked(vocabulary: Vocabulary, path: StrPath) -> Vocabulary:
    """Return the vocabulary, after checking that it contains both tokens and the result of every merge."""
    ids = vocabulary.ids
    for first, second in vocabulary.merges:
        if not (first in ids and second in ids and first + second in ids):
            three = shortened(f"{first!r}, {second!r} and {first + second!r}")
            raise ValueError(f"{path}: the vocabulary lacks a token of the merge {three}; do the files match?")
    return vocabulary
