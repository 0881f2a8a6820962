"""Added tokens: pieces of text that become one id as they stand, before any byte-pair encoding."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import regex

from clip_core.tokenization.unicode import LATE_WORD_CHARACTERS, WHITE_SPACE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FIELDS = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")
_WORD_CHARACTER = regex.compile(rf"(?V1)[\w--[{LATE_WORD_CHARACTERS}]]")


@dataclass(frozen=True)
class AddedToken:
    """Token found in the text as it stands; the fields are those of `tokenizers.AddedToken`.

    Attributes:
        content: the token.
        single_word: do not match inside a word.
        lstrip: swallow the white space on the left.
        rstrip: swallow the white space on the right.
        normalized: clean and lower-case the token and the text before matching; by default, unless it is special.
        special: a control token, such as the end of text, which decoding may skip.
    """

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool | None = None
    special: bool = False
    _normalized_given: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_normalized_given", self.normalized is not None)
        if self.normalized is None:
            object.__setattr__(self, "normalized", not self.special)

    def __str__(self) -> str:
        return self.content

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, as tokenizer_config.json holds them."""
        return {name: getattr(self, name) for name in FIELDS}

    def as_special(self) -> AddedToken:
        """Return the same token, special; `normalized` follows unless it was given."""
        normalized = self.normalized if self._normalized_given else None
        return AddedToken(**self.to_dict() | {"normalized": normalized, "special": True})


def as_added_token(value: Any, *, special: bool = False, normalized: bool | None = None) -> AddedToken:
    """Return the token for a string, a dict of the fields, or an AddedToken of any library.

    Args:
        value: the token.
        special: make it special in any case.
        normalized: the field's value if `value` is a string.

    Raises:
        TypeError: it is none of these.
        ValueError: it holds half of a surrogate pair.
    """
    if isinstance(value, str):
        token = AddedToken(value, normalized=normalized, special=special)
    elif isinstance(value, AddedToken):
        token = value.as_special() if special else value
    elif isinstance(value, dict) and isinstance(value.get("content"), str):
        fields = {name: value[name] for name in FIELDS if name in value}
        token = AddedToken(**fields | {"special": special or bool(value.get("special"))})
    elif isinstance(getattr(value, "content", None), str):
        # In `tokenizers`, `normalized` follows `special` unless it was given; reading it with `special` set tells.
        was_special = value.special
        value.special = was_special or special
        token = AddedToken(**{name: getattr(value, name) for name in FIELDS})
        value.special = was_special
    else:
        raise TypeError(f"a token is a str or an AddedToken, not {value!r}")
    check_surrogates(token.content)
    return token


def check_surrogates(text: str) -> None:
    """Raise a ValueError if the text holds half of a surrogate pair, which no encoding can write."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text {text[:40]!r} holds half of a surrogate pair at character {error.start} "
            f"(U+{ord(text[error.start]):04X}); decode it with errors='replace' first"
        ) from error


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
            if (split_special_tokens and token.special) or (token.single_word and _is_inside_word(text, start, end)):
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


def _is_inside_word(text: str, start: int, end: int) -> bool:
    return bool((start and _WORD_CHARACTER.match(text[start - 1])) or _WORD_CHARACTER.match(text, end))
