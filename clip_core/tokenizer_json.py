"""What a tokenizer.json says to do with text, and whether that is what CLIP does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clip_core.byte_symbols import END_OF_WORD

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
