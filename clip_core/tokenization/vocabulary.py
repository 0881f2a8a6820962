"""Reading and writing the vocabulary of a byte-level byte-pair encoding, and the `tokenizer.json` that it may be in."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_core.hub.files import read_json
from clip_core.tokenization.added import AddedToken, as_added_token
from clip_core.tokenization.unicode import BYTE_TO_CHARACTER, END_OF_TEXT, END_OF_WORD, START_OF_TEXT

if TYPE_CHECKING:
    import os

    StrPath = str | os.PathLike[str]


NORMALIZER = ("NFC", ("Replace", r"\s+", " "), "Lowercase")
WORD_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"

# Many files, those of OpenAI's checkpoints among them, keep the two signs whole where they stand in lower-cased text.
SIGNS_PATTERN = r"<\|startoftext\|>|<\|endoftext\|>"


_PATTERNS = (WORD_PATTERN, f"{SIGNS_PATTERN}|{WORD_PATTERN}")


def has_signs_in_pattern(content: dict[str, Any]) -> bool:
    """Whether the pattern of a file that `check_text_steps` has let pass names the two signs."""
    pattern: str = content["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    return pattern != WORD_PATTERN


def check_text_steps(content: dict[str, Any], path: StrPath) -> None:
    """Refuse a file that treats text in another way than CLIP's tokenizers do.

    Args:
        content: the content of a tokenizer.json.
        path: the file, for the message.

    Raises:
        ValueError: the file says another normalizer, another way to split words, or another model.
    """
    model = content["model"]
    plain = not any(model.get(key) for key in ("dropout", "continuing_subword_prefix", "fuse_unk", "byte_fallback"))
    if not plain or model.get("end_of_word_suffix") != END_OF_WORD or model.get("ignore_merges"):
        wrong = f"its model is no byte-pair encoding with {END_OF_WORD!r} at the end of words"
    elif _normalizer_steps(content.get("normalizer")) != NORMALIZER:
        wrong = f"its normalizer is not {NORMALIZER}"
    elif not _splits_like_clip(content.get("pre_tokenizer")):
        wrong = "its pre_tokenizer does not split words as CLIP's does"
    else:
        return
    raise ValueError(
        f"{path} is not that of a CLIP tokenizer: {wrong}. Pass from_slow=True to from_pretrained to read "
        "vocab.json and merges.txt instead, and apply CLIP's own steps"
    )


def _normalizer_steps(normalizer: Any) -> tuple[Any, ...]:
    steps = (normalizer or {}).get("normalizers", ())
    return tuple(
        (step["type"], step.get("pattern", {}).get("Regex"), step.get("content"))
        if step["type"] == "Replace"
        else step["type"]
        for step in steps
    )


def _splits_like_clip(pre_tokenizer: Any) -> bool:
    steps = (pre_tokenizer or {}).get("pretokenizers", ())
    if [step["type"] for step in steps] != ["Split", "ByteLevel"]:
        return False
    split, byte_level = steps
    removes_rest = split.get("behavior") == "Removed" and split.get("invert") is True
    pattern = split.get("pattern", {}).get("Regex")
    return pattern in _PATTERNS and removes_rest and not byte_level.get("add_prefix_space")


VOCAB_FILE = "vocab.json"
MERGES_FILE = "merges.txt"
TOKENIZER_FILE = "tokenizer.json"
OPENAI_FILES = ("bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt")

# OpenAI's file holds more merges than its vocabulary of 49,152 has places: 256 bytes twice and two signs come first.
_OPENAI_MERGES = 49152 - 256 - 2
_MERGES_HEADER = "#version"


@dataclass
class Vocabulary:
    """Tokens and merges as a file holds them.

    Attributes:
        ids: token -> id, without the added tokens unless they stand among the others.
        merges: the pairs of tokens that merge into one, the first ranking highest.
        added_tokens: id -> added token.
        is_openai: whether it comes from OpenAI's own file.
        signs_in_pattern: whether its tokenizer.json names the two signs in the pattern for words.
    """

    ids: dict[str, int]
    merges: list[tuple[str, str]]
    added_tokens: dict[int, AddedToken] = field(default_factory=dict)
    is_openai: bool = False
    signs_in_pattern: bool = False


def read_vocabulary(
    vocab_file: StrPath | None = None, merges_file: StrPath | None = None, tokenizer_file: StrPath | None = None
) -> Vocabulary:
    """Read a vocabulary from the first of: tokenizer.json, vocab.json with merges.txt, OpenAI's file as `vocab_file`.

    Raises:
        ValueError: no file is given, a file is damaged, or it holds another kind of vocabulary.
    """
    if tokenizer_file is not None:
        return read_tokenizer_json(tokenizer_file)
    if vocab_file is not None and Path(vocab_file).suffix in {".gz", ".txt"}:
        return read_openai_file(vocab_file)
    if vocab_file is not None and merges_file is not None:
        ids = read_json(vocab_file)
        _check_ids(ids, vocab_file)
        return _checked(Vocabulary(ids, _read_merges(merges_file)), merges_file)
    raise ValueError(
        f"a tokenizer needs {VOCAB_FILE} and {MERGES_FILE} (vocab_file, merges_file), {TOKENIZER_FILE} "
        f"(tokenizer_file) or OpenAI's {OPENAI_FILES[0]} (vocab_file); given were vocab_file={vocab_file!r}, "
        f"merges_file={merges_file!r}, tokenizer_file=None"
    )


def read_openai_file(path: StrPath) -> Vocabulary:
    """Read OpenAI's bpe_simple_vocab_16e6.txt, gzipped or not; the ids follow from the order of the merges.

    Raises:
        ValueError: it is no such file.
    """
    path = Path(path)
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = content.decode("utf-8").split("\n")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path} is no {OPENAI_FILES[0]}: {error}") from error
    if _MERGES_HEADER not in lines[0]:
        raise ValueError(f"{path} is no {OPENAI_FILES[0]}: its first line should end in '{_MERGES_HEADER}: 0.2'")
    merges = [_merge(line, path, number) for number, line in enumerate(lines[1 : _OPENAI_MERGES + 1], 2) if line]
    characters = list(BYTE_TO_CHARACTER.values())
    tokens = [*characters, *(character + END_OF_WORD for character in characters), *map("".join, merges)]
    tokens += [START_OF_TEXT, END_OF_TEXT]
    ids = {token: place for place, token in enumerate(tokens)}
    return _checked(Vocabulary(ids, merges, is_openai=True), path)


def read_tokenizer_json(path: StrPath) -> Vocabulary:
    """Read the vocabulary and the added tokens of a tokenizer.json.

    Raises:
        ValueError: the file is no tokenizer.json, or that of another tokenizer than CLIP's.
    """
    content = read_json(path)
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not {"vocab", "merges"} <= model.keys():
        raise ValueError(f"{path} holds no byte-pair encoding, as a {TOKENIZER_FILE} of CLIP does")
    _check_ids(model["vocab"], path)
    check_text_steps(content, path)
    merges = [_merge(merge, path, number) for number, merge in enumerate(model["merges"])]
    added_tokens = {int(token["id"]): as_added_token(token) for token in content.get("added_tokens") or ()}
    form = Vocabulary(model["vocab"], merges, added_tokens, signs_in_pattern=has_signs_in_pattern(content))
    return _checked(form, path)


def vocab_text(ids: dict[str, int]) -> str:
    """The content of a vocab.json, in the order of the ids."""
    ordered = dict(sorted(ids.items(), key=lambda item: item[1]))
    return json.dumps(ordered, ensure_ascii=False, separators=(",", ":")) + "\n"


def merges_text(merges: list[tuple[str, str]]) -> str:
    """The content of a merges.txt."""
    return "\n".join([f"{_MERGES_HEADER}: 0.2", *map(" ".join, merges)]) + "\n"


def _read_merges(path: StrPath) -> list[tuple[str, str]]:
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no {MERGES_FILE}: {error}") from error
    numbered = enumerate(lines, 1)
    return [_merge(line, path, n) for n, line in numbered if line and not (n == 1 and line.startswith(_MERGES_HEADER))]


def _merge(merge: Any, path: StrPath, number: int) -> tuple[str, str]:
    parts = merge.split() if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"{path}: merge {number} is {merge!r}; it should be two tokens with a space between")
    return parts[0], parts[1]


def _check_ids(ids: Any, path: StrPath) -> None:
    if not isinstance(ids, dict) or not all(type(value) is int and value >= 0 for value in ids.values()):
        raise ValueError(f"{path} holds no vocabulary; it should map each token to its id")
    if len(set(ids.values())) != len(ids):
        raise ValueError(f"{path} gives the same id to several tokens")


def _checked(vocabulary: Vocabulary, path: StrPath) -> Vocabulary:
    """The vocabulary, once every merge is of tokens that it knows, and into one."""
    ids = vocabulary.ids
    for first, second in vocabulary.merges:
        if not (first in ids and second in ids and first + second in ids):
            raise ValueError(
                f"{path} merges {first!r} and {second!r}, but of these and {first + second!r} not all are in the "
                "vocabulary; do the files belong together?"
            )
    return vocabulary
