"""CLIPTokenizer: the byte-pair encoding of CLIP in readable Python."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

import regex

from clip_core.tokenization import unicode
from clip_core.tokenization.text import AddedTokenFinder
from clip_core.tokenization.tokenizer import CLIPTokenizerBase
from clip_core.tokenization.vocabulary import WORDS_AND_SIGNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clip_core.tokenization.rows import Pair, Text
    from clip_core.tokenization.vocabulary import StrPath


class CLIPTokenizer(CLIPTokenizerBase):
    """A tokenizer in plain Python, with the same ids as `CLIPTokenizerFast`.

    Takes the arguments of `CLIPTokenizerBase`, in transformers' order: `errors` comes third.

    Example:
        >>> tokenizer = CLIPTokenizer.from_pretrained("openai/clip-vit-base-patch32")  # doctest: +SKIP
        >>> tokenizer("a photo of a cat").input_ids  # doctest: +SKIP
        [49406, 320, 1125, 539, 320, 2368, 49407]
    """

    byte_encoder = unicode.BYTE_TO_CHARACTER
    byte_decoder = unicode.CHARACTER_TO_BYTE
    pat = regex.compile(WORDS_AND_SIGNS, regex.IGNORECASE)

    def __init__(
        self,
        vocab_file: StrPath | None = None,
        merges_file: StrPath | None = None,
        errors: str = "replace",
        unk_token: Any = unicode.END_OF_TEXT,
        bos_token: Any = unicode.START_OF_TEXT,
        eos_token: Any = unicode.END_OF_TEXT,
        pad_token: Any = unicode.END_OF_TEXT,
        *,
        tokenizer_file: StrPath | None = None,
        **kwargs: Any,
    ) -> None:
        tokens = unk_token, bos_token, eos_token, pad_token
        super().__init__(vocab_file, merges_file, tokenizer_file, *tokens, errors=errors, **kwargs)
        self.encoder = self.table.vocab
        self.decoder = {token_id: token for token, token_id in self.encoder.items()}
        self.bpe_ranks = {pair: rank for rank, pair in enumerate(self.table.merges)}

    def bpe(self, token: str) -> str:
        """Return the tokens of a word, separated by spaces.

        Args:
            token: the word, with each byte written as a character of `byte_encoder`.
        """
        return " ".join(self._merged([*token[:-1], token[-1] + unicode.END_OF_WORD]))

    def _tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text without added tokens. A subclass may override this, as in transformers."""
        return [self.table.tokens[token_id] for token_id in super()._ids([(text, None)], True)[0][0]]

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls._tokenize is not CLIPTokenizer._tokenize:
            cls._ids = cls._ids_by_tokenize  # type: ignore[assignment, method-assign]

    def _ids_by_tokenize(self, pairs: Sequence[Pair], split_special_tokens: bool) -> list[list[list[int]]]:
        finder = AddedTokenFinder({token.content: (key, token) for key, token in self.table.added.items()})

        def ids(text: Text) -> Iterator[int]:
            parts = [text] if isinstance(text, str) else text
            for piece in finder.split(parts, split_special_tokens=split_special_tokens):
                yield from [piece] if isinstance(piece, int) else self.convert_tokens_to_ids(self._tokenize(piece))

        return [[[*ids(text)] for text in pair if text is not None] for pair in pairs]

    def _encode_word(self, word: str) -> list[int]:
        symbols = unicode.to_symbols(word)
        tokens = [*symbols[:-1], symbols[-1] + unicode.END_OF_WORD]
        known = [token if token in self.table.vocab else self.unk_token for token in tokens]
        return [self.table.ids[token] for token in self._merged([token for token in known if token is not None])]

    def _merged(self, tokens: list[str]) -> list[str]:
        """Return the tokens after all merges. Each step merges the pair with the best rank, the leftmost of equal ones.

        Each token stays at the position where it starts. When a pair merges, the left token grows and the right one
        becomes empty. A pair in the heap is outdated once either of its tokens has changed.
        """
        tokens = [*tokens, ""]  # gives every token two neighbours: position -1 is before the first and after the last
        following, preceding = [*range(1, len(tokens)), -1], [*range(-1, len(tokens) - 1)]
        heap: list[tuple[int, int, str, str]] = []

        def push(left: int) -> None:
            pair = tokens[left], tokens[following[left]]
            if pair in self.bpe_ranks:
                heapq.heappush(heap, (self.bpe_ranks[pair], left, *pair))

        for place in range(len(tokens) - 1):
            push(place)
        while heap:
            _, left, first, second = heapq.heappop(heap)
            right = following[left]
            if (tokens[left], tokens[right]) == (first, second):
                tokens[left], tokens[right] = first + second, ""
                following[left] = following[right]
                preceding[following[right]] = left
                push(preceding[left])
                push(left)
        return [token for token in tokens if token]
