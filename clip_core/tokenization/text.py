"""Cleaning texts and splitting them into words, by the steps of transformers' CLIPTokenizerFast or of OpenAI's code."""

from __future__ import annotations

import re
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal

import regex
from tokenizers import Regex, normalizers, pre_tokenizers

from clip_core.tokenization import unicode
from clip_core.tokenization.vocabulary import SIGNS_PATTERN, WORD_PATTERN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tokenizers import AddedToken

Clean = Literal["hf", "openai"]

_CACHED_WORDS = 100_000
_LONGEST_CACHED_WORD = 256
_SIGNS = (unicode.START_OF_TEXT, unicode.END_OF_TEXT)

_SPACES = r"\s+"
WORDS_AND_SIGNS = f"{SIGNS_PATTERN}|{WORD_PATTERN}"
# The `tokenizers` library's own steps, for text that is not ASCII: its version of Unicode is not Python's.
CLEANING = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(_SPACES), " "), normalizers.Lowercase()])
_RUNS = pre_tokenizers.Whitespace()  # of word characters, and of other visible ones


@cache
def _compiled(pattern: str) -> Any:
    """Compile a pattern when it is first used: compiling all of them at import would cost a tenth of a second."""
    return regex.compile(pattern)


@cache
def splitter(pattern: str) -> pre_tokenizers.Split:
    """Return the library's splitter of a text into the matches of a pattern."""
    return pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)


def hf_clean(text: str) -> str:
    """Clean as CLIPTokenizerFast does: compose (NFC), collapse white space, lower-case."""
    return str(_compiled(_SPACES).sub(" ", text)).lower() if text.isascii() else str(CLEANING.normalize_str(text))


def openai_clean(text: str) -> str:
    """Clean as OpenAI does: repair mojibake (ftfy), unescape HTML twice, collapse white space, lower-case."""
    import html

    import ftfy

    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return str(_compiled(_SPACES).sub(" ", text)).strip().lower()


def hf_words(text: str, pattern: str = WORD_PATTERN) -> list[str]:
    """Return the words of a text cleaned by `hf_clean`."""
    if text.isascii():
        return list(_compiled(pattern).findall(text))
    return [word for word, _ in splitter(pattern).pre_tokenize_str(text)]


def hf_words_around_signs(text: str) -> list[str]:
    """Return the words, which also end before and after a sign; a sign itself is split into words."""
    found = hf_words(text, WORDS_AND_SIGNS)
    return [word for one in found for word in (hf_words(one) if one in _SIGNS else [one])]


def openai_words(text: str, pattern: str = WORDS_AND_SIGNS) -> list[str]:
    """Return the words of a text cleaned by `openai_clean`, the two signs among them."""
    return list(_compiled(f"(?i){pattern}").findall(text))


def openai_words_without_signs(text: str) -> list[str]:
    """Return the same words, with the signs split like any other text."""
    return openai_words(text, WORD_PATTERN)


def _begins_with_word_character(text: str) -> bool:
    return bool(_RUNS.pre_tokenize_str(f"a{text[:1]}")[0][0] != "a")


class AddedTokenFinder:
    """Splitter of a text at its added tokens. Of overlapping tokens the leftmost counts, and of those the longest.

    Args:
        tokens: the text to look for -> the id and the token.
    """

    def __init__(self, tokens: Mapping[str, tuple[int, AddedToken]]) -> None:
        self._tokens = tokens
        longest_first = sorted(tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if tokens else None

    def split(self, text: str, *, split_special_tokens: bool = False) -> Iterator[str | int]:
        """Yield the ids of the tokens and the texts between them, in order; no text is empty.

        With `split_special_tokens`, special tokens are read as ordinary text.
        """
        position = 0
        for match in self._pattern.finditer(text) if self._pattern else ():
            token_id, token = self._tokens[match[0]]
            start, end = match.span()
            if split_special_tokens and token.special:
                continue
            if token.single_word and any(
                map(_begins_with_word_character, (text[max(start - 1, 0) : start], text[end:]))
            ):
                continue
            if token.lstrip:
                start = max(position, len(text[:start].rstrip(unicode.WHITE_SPACE)))
            if token.rstrip:
                end = len(text) - len(text[end:].lstrip(unicode.WHITE_SPACE))
            if position < start:
                yield text[position:start]
            yield token_id
            position = end
        if position < len(text):
            yield text[position:]


class TextReader:
    """Splitter of texts into words and the ids of added tokens.

    Added tokens that are not `normalized` are found first; the rest is cleaned, and the others are found in it. With
    clean="openai", the signs of start and end are no such tokens: they are words only where OpenAI's pattern splits
    them off, unlike in "!!<|endoftext|>". With `signs_in_pattern` and clean="hf", words end before and after a sign.
    """

    def __init__(
        self,
        clean: Clean,
        added_tokens: Mapping[int, AddedToken],
        ids: Mapping[str, int],
        *,
        signs_in_pattern: bool = False,
    ) -> None:
        is_openai = clean == "openai"
        words = hf_words_around_signs if signs_in_pattern else hf_words
        self._clean = openai_clean if is_openai else hf_clean
        self._words = openai_words if is_openai else words
        self._words_without_signs = openai_words_without_signs if is_openai else words
        signs = _SIGNS if is_openai else ()
        self._signs = {sign: ids[sign] for sign in signs if sign in ids}
        as_given: dict[str, tuple[int, AddedToken]] = {}
        cleaned: dict[str, tuple[int, AddedToken]] = {}
        for token_id, token in sorted(added_tokens.items()):
            if token.content in self._signs:
                continue
            # Of two tokens that are the same once cleaned, the text can hold only one: the first.
            if token.normalized:
                cleaned.setdefault(self._clean(token.content), (token_id, token))
            else:
                as_given[token.content] = (token_id, token)
        cleaned.pop("", None)
        self._as_given = AddedTokenFinder(as_given)
        self._cleaned = AddedTokenFinder(cleaned)
        self.found_tokens = [token for _, token in sorted([*as_given.values(), *cleaned.values()], key=itemgetter(0))]
        self._cache: dict[str, list[int]] = {}

    def pieces(self, text: str, *, split_special_tokens: bool = False) -> list[str | int]:
        """Return the words and the ids of added tokens in a text, in order."""
        found: list[str | int] = []
        words = self._words_without_signs if split_special_tokens else self._words
        signs = {} if split_special_tokens else self._signs
        for given in self._as_given.split(text, split_special_tokens=split_special_tokens):
            if isinstance(given, int):
                found.append(given)
                continue
            for piece in self._cleaned.split(self._clean(given), split_special_tokens=split_special_tokens):
                if isinstance(piece, int):
                    found.append(piece)
                else:
                    found += [signs.get(word, word) for word in words(piece)] if signs else words(piece)
        return found

    def ids(
        self, encode_word: Callable[[str], list[int]], text: str | list[str], *, split_special_tokens: bool
    ) -> list[int]:
        """Return the ids of a text, or of a list of words; those of a word come from `encode_word` and are cached."""
        ids: list[int] = []
        cache = self._cache
        for part in [text] if isinstance(text, str) else text:
            for piece in self.pieces(part, split_special_tokens=split_special_tokens):
                if isinstance(piece, int):
                    ids.append(piece)
                    continue
                found = cache.get(piece)
                if found is None:
                    found = encode_word(piece)
                    if len(piece) <= _LONGEST_CACHED_WORD and len(cache) < _CACHED_WORDS:
                        cache[piece] = found
                ids += found
        return ids
