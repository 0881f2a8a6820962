"""CLIPTokenizer: the byte-pair encoding of CLIP in readable Python."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

import regex

from clip_core.tokenization import unicode
from clip_core.tokenization.text import WORDS_AND_SIGNS, AddedTokenFinder
from clip_core.tokenization.tokenizer import CLIPTokenizerBase

if TYPE_CHECKING:
    from clip_core.tokenization.rows import Text
    from clip_core.tokenization.vocabulary import StrPath


class CLIPTokenizer(CLIPTokenizerBase):
    """Tokenizer in pure Python; its ids are those of `CLIPTokenizerFast`.

    Takes the arguments of `CLIPTokenizerBase`, in the order of transformers: `errors` comes third.

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
            token: the word, each of its bytes as a character of `byte_encoder`.
        """
        return " ".join(self._merged([*token[:-1], token[-1] + unicode.END_OF_WORD]))

    def _tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text without added tokens; a subclass may return others, as in transformers."""
        return [self.table.tokens[token_id] for token_id in super()._ids(text, split_special_tokens=True)]

    def _ids(self, text: Text, split_special_tokens: bool) -> list[int]:
        if type(self)._tokenize is CLIPTokenizer._tokenize:  # noqa: SLF001  not overridden
            return self._reader.ids(self._encode_word, text, split_special_tokens=split_special_tokens)
        finder = AddedTokenFinder({token.content: (key, token) for key, token in self.table.added.items()})
        ids: list[int] = []
        for part in [text] if isinstance(text, str) else text:
            for piece in finder.split(part, split_special_tokens=split_special_tokens):
                ids += [piece] if isinstance(piece, int) else self.convert_tokens_to_ids(self._tokenize(piece))
        return ids

    def _encode_word(self, word: str) -> list[int]:
        symbols, unknown = unicode.to_symbols(word), self.unk_token
        tokens = [*symbols[:-1], symbols[-1] + unicode.END_OF_WORD]
        known = [token if token in self.table.vocab else unknown for token in tokens]
        return [self.table.ids[token] for token in self._merged([token for token in known if token is not None])]

    def _merged(self, tokens: list[str]) -> list[str]:
        """Return the tokens after all merges: each time the pair of the best rank, and the leftmost of equal ones.

        Each token stays at the place where it begins. Of a pair that merges, the left token grows and the right one
        becomes empty; a pair in the heap is out of date once either of its tokens has changed.
        """
        end = len(tokens)
        following, preceding = list(range(1, end + 1)), list(range(-1, end - 1))
        heap: list[tuple[int, int, str, str]] = []

        def push(left: int) -> None:
            right = following[left] if left >= 0 else end
            if right < end:
                pair = tokens[left], tokens[right]
                rank = self.bpe_ranks.get(pair)
                if rank is not None:
                    heapq.heappush(heap, (rank, left, *pair))

        for place in range(end - 1):
            push(place)
        while heap:
            _, left, first, second = heapq.heappop(heap)
            right = following[left]
            if right >= end or (tokens[left], tokens[right]) != (first, second):
                continue
            tokens[left], tokens[right] = first + second, ""
            following[left] = following[right]
            if following[right] < end:
                preceding[following[right]] = left
            push(preceding[left])
            push(left)
        return [token for token in tokens if token]
