"""Both tokenizers, and tokens that tests add to them."""

from __future__ import annotations

from typing import Any

from clip_core.tokenization import AddedToken, CLIPTokenizer
from clip_core.tokenization.fast import CLIPTokenizerFast

CLASSES = [CLIPTokenizer, CLIPTokenizerFast]

ADDED = [
    {"content": "<Left>", "lstrip": True, "normalized": False},
    {"content": "<right>", "rstrip": True},
    {"content": "Bird", "single_word": True},
    {"content": "<Special One>", "special": True},
    {"content": "Caf\u00c9", "normalized": True, "lstrip": True, "rstrip": True},
    "!!",
    "\u4e2d\u6587",
]
ADDED_PIECES = (
    "<Left>",
    " <Left>",
    "<left>",
    "<right> ",
    "<RIGHT>",
    "Bird",
    "bird",
    "xbird",
    "<Special One>",
    "Cafe\u0301",
    " cafe\u0301 ",
)


def as_added(tokens: list[Any]) -> list[Any]:
    return [token if isinstance(token, str) else AddedToken(**token) for token in tokens]


def assert_rows_equal(found: Any, expected: Any, texts: list[str]) -> None:
    different = [(text, one, other) for text, one, other in zip(texts, found, expected, strict=True) if one != other]
    assert not different
