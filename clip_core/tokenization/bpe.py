"""CLIPTokenizer: the byte-pair encoding of CLIP in readable Python."""

from __future__ import annotations

import heapq
from itertools import chain
from typing import TYPE_CHECKING, Any

import regex

from clip_core.configuration.arguments import shows_fields
from clip_core.tokenization import vocabulary
from clip_core.tokenization.rows import CallOptions
from clip_core.tokenization.text import AddedTokenFinder
from clip_core.tokenization.tokenizer import CLIPTokenizerBase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_core.processing.encoding import Pair, Text
    from clip_core.tokenization.vocabulary import StrPath

# Steps of transformers' tokenizer, which a subclass may override. Without overrides, texts skip these methods.
_STEPS = ["tokenize", "prepare_for_tokenization", "_tokenize", "bpe", "convert_tokens_to_ids", "_convert_token_to_id"]
_STEPS += ["_convert_id_to_token", "prepare_for_model", "pad"]


class CLIPTokenizer(CLIPTokenizerBase):
    """A tokenizer in plain Python, with the same ids as `CLIPTokenizerFast`.

    Takes the arguments of `CLIPTokenizerBase`, in transformers' order: `errors` comes third.

    Example:
        >>> tokenizer = CLIPTokenizer.from_pretrained("openai/clip-vit-base-patch32")  # doctest: +SKIP
        >>> tokenizer("a photo of a cat").input_ids  # doctest: +SKIP
        [49406, 320, 1125, 539, 320, 2368, 49407]
    """

    byte_encoder = vocabulary.BYTE_TO_CHARACTER
    byte_decoder = vocabulary.CHARACTER_TO_BYTE
    pat = regex.compile(vocabulary.WORDS_AND_SIGNS, regex.IGNORECASE)
    _overrides = False

    def __init__(
        self,
        vocab_file: StrPath | None = None,
        merges_file: StrPath | None = None,
        errors: str = "replace",
        unk_token: Any = vocabulary.END_OF_TEXT,
        bos_token: Any = vocabulary.START_OF_TEXT,
        eos_token: Any = vocabulary.END_OF_TEXT,
        pad_token: Any = vocabulary.END_OF_TEXT,
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
        return " ".join(self._merged([*token[:-1], token[-1] + vocabulary.END_OF_WORD]))

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls._overrides = any(getattr(cls, step) is not getattr(CLIPTokenizer, step) for step in _STEPS)
        if cls._overrides:
            cls._columns = cls._columns_by_steps  # type: ignore[assignment, method-assign]

    @shows_fields(CallOptions)
    def tokenize(self, text: str, pair: Any = None, add_special_tokens: bool = False, **options: Any) -> Any:
        """Return the tokens of a text, without special tokens. Takes the arguments of `CLIPTokenizerBase.__call__`.

        For a subclass that overrides a step, the text is split at added tokens, and `_tokenize` gets the rest.
        """
        if not self._overrides:
            return super().tokenize(text, pair, add_special_tokens, **options)
        text, options = self.prepare_for_tokenization(text, **options)
        finder = AddedTokenFinder({token.content: (key, token) for key, token in self.table.added.items()})
        pieces = finder.split([text], split_special_tokens=options.get("split_special_tokens") or False)
        tokens = ([self.table.tokens[one]] if isinstance(one, int) else self._tokenize(one) for one in pieces)
        return [*chain.from_iterable(tokens)]

    def prepare_for_tokenization(self, text: str, is_split_into_words: bool = False, **options: Any) -> Any:  # noqa: ARG002
        """Return a text as it is to be tokenized, and the options that are left. Takes the arguments of `tokenize`."""
        return text, options

    def _tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text without added tokens."""
        words = self._reader.pieces([text], split_special_tokens=True)
        return [token for word in words for token in self.bpe(vocabulary.to_symbols(word)).split(" ")]

    def _columns_by_steps(self, pairs: Sequence[Pair], asked: CallOptions) -> tuple[dict[str, Any], None]:
        """Return the columns of texts by the methods that transformers calls, for a subclass that overrides one."""
        keywords = {"split_special_tokens": True} if asked.split_special_tokens else {}

        def ids(text: Text) -> list[int]:
            parts, words = ([text], {}) if isinstance(text, str) else (text, {"is_split_into_words": True})
            tokens = [token for part in parts for token in self.tokenize(part, **words, **keywords)]
            return list(self.convert_tokens_to_ids(tokens))

        texts = [[ids(text) for text in pair if text is not None] for pair in pairs]
        options = {name: getattr(asked, name) for name in asked.__dataclass_fields__} | {"return_tensors": None}
        options |= {"padding": asked.padding or "do_not_pad", "truncation": asked.truncation or "do_not_truncate"}
        if not asked.is_batch:
            row = self.prepare_for_model(*texts[0], **options, prepend_batch_axis=True)
            return {name: [column] for name, column in row.items()}, None
        later = {"padding": "do_not_pad", "return_attention_mask": False}
        later |= {"pad_to_multiple_of": None, "padding_side": None}  # the batch is padded at once
        rows = [self.prepare_for_model(*text, **options | later) for text in texts]
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        return self.pad(columns, **{name: options[name] for name in (*later, "max_length")}).data, None

    def _encode_word(self, word: str) -> list[int]:
        symbols = vocabulary.to_symbols(word)
        tokens = [*symbols[:-1], symbols[-1] + vocabulary.END_OF_WORD]
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
