"""Vocabulary of whole words, made from the captions that a decoder learns from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

END = 0  # the id that ends every caption
_WORD = re.compile(r"\w+(?:['-]\w+)*|[^\w\s]")  # punctuation marks are words, too
_SPACE_BEFORE_MARK = re.compile(r" (?=[.,;:!?])")


@dataclass(frozen=True)
class Vocabulary:
    """Words by id. Id 0 ends a caption, so the words' own ids start at 1.

    Attributes:
        words: the words in lower case, sorted.
    """

    words: tuple[str, ...]

    @classmethod
    def from_captions(cls, captions: Iterable[str]) -> Vocabulary:
        """Return the vocabulary of all words of the captions."""
        return cls(tuple(sorted({word for caption in captions for word in split(caption)})))

    def __len__(self) -> int:
        return len(self.words) + 1

    def encode(self, caption: str) -> list[int]:
        """Return the ids of a caption, ending in `END`. A word that is not in the vocabulary raises a KeyError."""
        return [*(self._ids[word] for word in split(caption)), END]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the caption of ids, up to the first `END`."""
        ids = ids[: ids.index(END)] if END in ids else ids
        return _SPACE_BEFORE_MARK.sub("", " ".join(self.words[number - 1] for number in ids))

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, 1)}


def split(caption: str) -> list[str]:
    """Return the words and punctuation marks of a caption, in lower case."""
    return _WORD.findall(caption.lower())
