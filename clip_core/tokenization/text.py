"""Cleaning texts and splitting them into words, with the steps of transformers' CLIPTokenizerFast or of OpenAI's code.

Each step maps a list of pieces: texts, the ids of added tokens already found, and a marker at the end of each text.
"""

from __future__ import annotations

import html
import re
from functools import cache, partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal

import regex
from tokenizers import Regex, normalizers, pre_tokenizers

from clip_core.tokenization.vocabulary import END_OF_TEXT, START_OF_TEXT, WORD_PATTERN, WORDS_AND_SIGNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tokenizers import AddedToken

    # A text, the id of an added token, or a marker of the caller.
    Piece = Any

Clean = Literal["hf", "openai"]

_SIGNS = (START_OF_TEXT, END_OF_TEXT)
_SPACES = r"\s+"
# Characters with the property White_Space, unchanged since Unicode 6.3.
_WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
# The `tokenizers` library's own steps for non-ASCII text, because its Unicode version differs from Python's.
CLEANING = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(_SPACES), " "), normalizers.Lowercase()])
_RUNS = pre_tokenizers.Whitespace()  # runs of word characters, and of other visible characters


@cache
def _compiled(pattern: str) -> Any:
    """Compile a pattern on first use, because compiling all of them at import would take a tenth of a second."""
    return regex.compile(pattern)


@cache
def splitter(pattern: str) -> pre_tokenizers.Split:
    """Return the library's splitter of a text into the matches of a pattern."""
    return pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)


def hf_clean(pieces: Iterable[Piece]) -> list[Piece]:
    """Clean texts like CLIPTokenizerFast: compose (NFC), collapse white space, lower-case."""
    collapse, cleaned = _compiled(_SPACES).sub, list(pieces)
    for place, text in enumerate(cleaned):
        if isinstance(text, str):
            cleaned[place] = collapse(" ", text).lower() if text.isascii() else CLEANING.normalize_str(text)
    return cleaned


def openai_clean(pieces: Iterable[Piece]) -> list[Piece]:
    """Clean texts like OpenAI's code: repair mojibake (ftfy), unescape HTML twice, collapse white space, lower-case."""
    import ftfy

    collapse, cleaned = _compiled(_SPACES).sub, list(pieces)
    for place, text in enumerate(cleaned):
        if isinstance(text, str):
            fixed = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
            cleaned[place] = collapse(" ", fixed).strip().lower()
    return cleaned


def hf_words(pieces: Iterable[Piece], pattern: str = WORD_PATTERN) -> list[Piece]:
    """Split texts cleaned by `hf_clean` into words."""
    find = _compiled(pattern).findall
    words: list[Piece] = []
    for text in pieces:
        if not isinstance(text, str):
            words.append(text)
        elif text.isascii():
            words += find(text)
        else:
            words += map(itemgetter(0), splitter(pattern).pre_tokenize_str(text))
    return words


def hf_words_around_signs(pieces: Iterable[Piece]) -> list[Piece]:
    """Split texts into words that also end before and after a sign. A sign itself is split into words."""
    found = hf_words(pieces, WORDS_AND_SIGNS)
    return [word for one in found for word in (hf_words([one]) if one in _SIGNS else [one])]


def openai_words(pieces: Iterable[Piece], signs: Mapping[str, int] | None = None) -> list[Piece]:
    """Split texts cleaned by `openai_clean` into words; with `signs`, the two signs are words and become their ids."""
    find = _compiled(f"(?i){WORD_PATTERN if signs is None else WORDS_AND_SIGNS}").findall
    ids, words = signs or {}, list[Any]()
    for text in pieces:
        words += map(ids.get, found := find(text), found) if isinstance(text, str) else [text]
    return words


class AddedTokenFinder:
    """A splitter of texts at added tokens: the text to find -> the id and the token.

    Of overlapping tokens, the leftmost one counts; of those at the same position, the longest.
    """

    def __init__(self, tokens: Mapping[str, tuple[int, AddedToken]]) -> None:
        self._tokens = tokens
        self._pattern = re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))))

    def split(self, pieces: Iterable[Piece], *, split_special_tokens: bool = False) -> list[Piece]:
        """Return the ids of the tokens and the non-empty texts between them.

        With `split_special_tokens`, special tokens are treated as ordinary text.
        """
        if not self._tokens:
            return list(pieces)
        found: list[Piece] = []
        for text in pieces:
            if not isinstance(text, str):
                found.append(text)
                continue
            position = 0
            for match in self._pattern.finditer(text):
                token_id, token = self._tokens[match[0]]
                start, end = match.span()
                if split_special_tokens and token.special:
                    continue
                around = (text[max(start - 1, 0) : start], text[end : end + 1]) if token.single_word else ()
                if any(_RUNS.pre_tokenize_str(f"a{one}")[0][0] != "a" for one in around):  # a word character
                    continue
                if token.lstrip:
                    start = max(position, len(text[:start].rstrip(_WHITE_SPACE)))
                if token.rstrip:
                    end = len(text) - len(text[end:].lstrip(_WHITE_SPACE))
                # Nothing is left of a token of white space that the token before took.
                found += [text[position:start]] * (position < start) + [token_id] * (start < end)
                position = end
            if position < len(text):
                found.append(text[position:])
        return found


class TextReader:
    """A splitter of texts into words and the ids of added tokens.

    Added tokens that are not `normalized` are found first. The rest is cleaned, and the other tokens are found in it.
    With clean="openai", the start and end signs are not such tokens: they are words only where OpenAI's pattern splits
    them off, unlike in "!!<|endoftext|>". With `signs_in_pattern` and clean="hf", words end before and after a sign.
    """

    def __init__(
        self, clean: Clean, added_tokens: Mapping[int, Any], ids: Mapping[str, int], *, signs_in_pattern: bool = False
    ) -> None:
        is_openai = clean == "openai"
        signs = {sign: ids[sign] for sign in _SIGNS if sign in ids} if is_openai else {}
        self._clean = openai_clean if is_openai else hf_clean
        words = hf_words_around_signs if signs_in_pattern else hf_words
        self._words_without_signs = openai_words if is_openai else words
        self._words = partial(openai_words, signs=signs) if is_openai else self._words_without_signs
        as_given: dict[str, tuple[int, AddedToken]] = {}
        cleaned: dict[str, tuple[int, AddedToken]] = {}
        for token_id, token in sorted(added_tokens.items()):
            if token.content in signs:
                continue
            # If two tokens are equal after cleaning, the text can contain only one of them: the first.
            if token.normalized:
                cleaned.setdefault(str(self._clean([token.content])[0]), (token_id, token))
            else:
                as_given[token.content] = (token_id, token)
        cleaned.pop("", None)
        self._as_given, self._cleaned = AddedTokenFinder(as_given), AddedTokenFinder(cleaned) if cleaned else None
        self.found_tokens = [token for _, token in sorted([*as_given.values(), *cleaned.values()], key=itemgetter(0))]

    def pieces(self, texts: Iterable[Piece], *, split_special_tokens: bool = False) -> list[Piece]:
        """Return the words and the ids of added tokens in texts, in order."""
        pieces = self._clean(self._as_given.split(texts, split_special_tokens=split_special_tokens))
        if self._cleaned is not None:
            pieces = self._cleaned.split(pieces, split_special_tokens=split_special_tokens)
        return (self._words_without_signs if split_special_tokens else self._words)(pieces)
