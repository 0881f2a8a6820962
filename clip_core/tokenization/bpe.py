"""CLIPTokenizer: the byte-pair encoding of CLIP in Python that can be read."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

from clip_core.tokenization.base import CLIPTokenizerBase
from clip_core.tokenization.unicode import END_OF_TEXT, END_OF_WORD, START_OF_TEXT, to_symbols
from clip_core.tokenization.vocabulary import read_vocabulary

if TYPE_CHECKING:
    import os


class CLIPTokenizer(CLIPTokenizerBase):
    """Texts to ids and back, in Python alone; the ids are those of `CLIPTokenizerFast`.

    Args:
        vocab_file: vocab.json, or OpenAI's bpe_simple_vocab_16e6.txt, gzipped or not.
        merges_file: merges.txt, where `vocab_file` is a vocab.json.
        errors: what decoding does with bytes that are no UTF-8, see `bytes.decode`.
        unk_token: stands for what the vocabulary cannot write.
        bos_token: begins each text.
        eos_token: ends each text.
        pad_token: fills up shorter texts. Where it is an ordinary word, such as "!", it is nothing else.
        tokenizer_file: tokenizer.json, instead of the other files.
        **kwargs: see `CLIPTokenizerBase`; `clean="openai"` for OpenAI's exact ids.

    Raises:
        ValueError: the files are missing or damaged, or an argument is not valid.

    Example:
        >>> tokenizer = CLIPTokenizer.from_pretrained("openai/clip-vit-base-patch32")  # doctest: +SKIP
        >>> tokenizer("a photo of a cat").input_ids  # doctest: +SKIP
        [49406, 320, 1125, 539, 320, 2368, 49407]
    """

    def __init__(
        self,
        vocab_file: str | os.PathLike[str] | None = None,
        merges_file: str | os.PathLike[str] | None = None,
        errors: str = "replace",
        unk_token: Any = END_OF_TEXT,
        bos_token: Any = START_OF_TEXT,
        eos_token: Any = END_OF_TEXT,
        pad_token: Any = END_OF_TEXT,
        *,
        tokenizer_file: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        vocabulary = read_vocabulary(vocab_file, merges_file, tokenizer_file)
        self._ranks = {pair: rank for rank, pair in enumerate(vocabulary.merges)}
        super().__init__(
            vocabulary,
            errors=errors,
            unk_token=unk_token,
            bos_token=bos_token,
            eos_token=eos_token,
            pad_token=pad_token,
            string_normalized=tokenizer_file is None,
            **kwargs,
        )

    def _encode_word(self, word: str) -> list[int]:
        symbols = to_symbols(word)
        unknown = str(self.unk_token)
        tokens = [token if token in self._vocab else unknown for token in [*symbols[:-1], symbols[-1] + END_OF_WORD]]
        return [self._ids[token] for token in self._merged(tokens)]

    def _merged(self, tokens: list[str]) -> list[str]:
        """The tokens after all merges: always that of the highest rank, and of those the leftmost.

        Each token is kept at the place where it begins. Of two that merge, the left one grows and the right one is
        gone; pairs in the heap of which one is gone, or has grown, no longer count.
        """
        end = len(tokens)
        following, preceding = list(range(1, end + 1)), list(range(-1, end - 1))
        heap: list[tuple[int, int, str, str]] = []

        def push(left: int) -> None:
            right = following[left] if left >= 0 else end
            if right < end:
                pair = tokens[left], tokens[right]
                rank = self._ranks.get(pair)
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
