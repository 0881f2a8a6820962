"""Added tokens: pieces of text that become one id as they stand, before any byte-pair encoding."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import regex
from tokenizers import AddedToken

from clip_core.tokenization.unicode import LATE_WORD_CHARACTERS, WHITE_SPACE, check_surrogates

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["AddedToken", "AddedTokenFinder", "as_added_token", "as_dict"]

FIELDS = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")
_WORD_CHARACTER = regex.compile(rf"(?V1)[\w--[{LATE_WORD_CHARACTERS}]]")


def as_added_token(value: Any, *, special: bool = False, normalized: bool | None = None) -> AddedToken:
    """Return the token for a string, a dict of the fields, or a copy of an AddedToken.

    `special` makes it special in any case; `normalized` is the field's value if `value` is a string.

    Raises:
        TypeError: it is none of these.
        ValueError: it holds half of a surrogate pair.
    """
    if isinstance(value, str):
        check_surrogates(value)
        return AddedToken(value, special=special, **{} if normalized is None else {"normalized": normalized})
    if isinstance(value, dict) and isinstance(value.get("content"), str):
        fields = {name: value[name] for name in FIELDS if value.get(name) is not None}
        return AddedToken(**fields | {"special": special or bool(value.get("special"))})
    if isinstance(getattr(value, "content", None), str):
        # `normalized` follows `special` unless it was given; reading it with `special` set tells.
        was_special = value.special
        value.special = was_special or special
        fields, value.special = as_dict(value), was_special
        return AddedToken(**fields)
    raise TypeError(f"a token is a str or an AddedToken, not {value!r}")


def as_dict(token: AddedToken) -> dict[str, Any]:
    """Return the fields of a token, as tokenizer_config.json holds them."""
    return {name: getattr(token, name) for name in FIELDS}


class AddedTokenFinder:
    """Splitter of a text at its added tokens: the leftmost first, the longest of those that begin there.

    Args:
        tokens: the text to look for -> the id and the token.
    """

    def __init__(self, tokens: Mapping[str, tuple[int, AddedToken]]) -> None:
        self._tokens = tokens
        longest_first = sorted(tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if tokens else None

    def split(self, text: str, *, split_special_tokens: bool = False) -> Iterator[str | int]:
        """Yield in order a token's id, or the text between tokens, which is never empty.

        With `split_special_tokens`, special tokens are read as ordinary text.
        """
        position = 0
        for match in self._pattern.finditer(text) if self._pattern else ():
            token_id, token = self._tokens[match[0]]
            start, end = match.span()
            if split_special_tokens and token.special:
                continue
            if token.single_word and any(map(_WORD_CHARACTER.match, (text[max(start - 1, 0) : start], text[end:]))):
                continue
            if token.lstrip:
                start = max(position, len(text[:start].rstrip(WHITE_SPACE)))
            if token.rstrip:
                end = len(text) - len(text[end:].lstrip(WHITE_SPACE))
            if position < start:
                yield text[position:start]
            yield token_id
            position = end
        if position < len(text):
            yield text[position:]
