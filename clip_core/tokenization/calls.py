"""From texts to rows of ids: the methods that a tokenizer is called by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clip_core.tokenization.batch import IdsToBatch
from clip_core.tokenization.rows import as_pairs, make_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_core.processing.batch import TensorType
    from clip_core.tokenization.encoding import BatchEncoding
    from clip_core.tokenization.lengths import Side, Truncation
    from clip_core.tokenization.rows import Pair, Text
    from clip_core.tokenization.text import Clean, TextReader

_CACHED_WORDS = 100_000
_LONGEST_CACHED_WORD = 256


class TextEncoding(IdsToBatch):
    """The methods that take texts; a subclass says how a word becomes ids."""

    is_fast = False
    clean: Clean
    split_special_tokens: bool
    _reader: TextReader
    _word_cache: dict[str, list[int]]

    def __call__(
        self,
        text: Any,
        text_pair: Any = None,
        *,
        add_special_tokens: bool = True,
        padding: Any = False,
        truncation: Any = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: Side | None = None,
        return_tensors: TensorType | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        split_special_tokens: bool | None = None,
    ) -> BatchEncoding:
        """The ids of texts, with the masks that a model takes.

        A text longer than `model_max_length` is returned whole unless `truncation` is asked for, with one warning in
        the log for each tokenizer; the model refuses it.

        Args:
            text: a text, a list of texts, or a list of pairs of texts.
            text_pair: the second text, or a list of them. CLIP was not trained on pairs.
            add_special_tokens: begin each text with bos_token and end it with eos_token.
            padding: True or "longest" to fill up to the longest row, "max_length" to fill up to `max_length`, False.
            truncation: True or "longest_first" to cut the longer text of a pair first, "only_first", "only_second",
                False. None is False, or True where `max_length` is given without padding.
            max_length: the length to cut at and to fill up to, in tokens; `model_max_length` by default.
            stride: with `return_overflowing_tokens`, how many tokens each row repeats of the one before.
            is_split_into_words: each text is a list of words, which are tokenized one by one.
            pad_to_multiple_of: fill up to a multiple of this.
            padding_side: "right" or "left"; the tokenizer's own by default.
            return_tensors: "np", "pt", "tf" or "jax" for arrays (batch, sequence): int64 in numpy and torch, int32 in
                TensorFlow and JAX. None for lists.
            return_token_type_ids: add `token_type_ids`, which are 0.
            return_attention_mask: add `attention_mask`, 0 where there is padding; the default is True.
            return_overflowing_tokens: make rows of what is cut off, and `overflow_to_sample_mapping`, which says what
                text each row is of.
            return_special_tokens_mask: add `special_tokens_mask`, 1 where a token is padding or was put around a text.
            return_offsets_mapping: add `offset_mapping`, the (start, end) of each token in its text as given. With
                CLIPTokenizerFast and clean="hf" alone.
            return_length: add `length`, the number of tokens of each row.
            verbose: warn in the log.
            split_special_tokens: read special tokens in the text as ordinary text.

        Raises:
            NotImplementedError: offsets are asked for, and cannot be known.
            TypeError: something is not a text.
            ValueError: an argument is not valid, rows of different length are to be a tensor, or a text holds half of
                a surrogate pair.
        """
        if return_offsets_mapping and not (self.is_fast and self.clean == "hf"):
            raise NotImplementedError(
                "return_offsets_mapping needs CLIPTokenizerFast with clean='hf': CLIPTokenizer does not follow the "
                "characters of a text, and OpenAI's steps rewrite it"
            )
        pairs, is_batch = as_pairs(
            text,
            text_pair,
            is_split_into_words=is_split_into_words,
            allow_surrogates=self.clean == "openai",  # ftfy repairs them
        )
        columns = self._columns(
            return_token_type_ids,
            return_attention_mask,
            return_overflowing_tokens,
            return_special_tokens_mask,
            return_offsets_mapping,
            return_length,
        )
        stride = stride if return_overflowing_tokens else 0
        cut, fill = self._lengths(padding, truncation, max_length, stride, pad_to_multiple_of, padding_side, verbose)
        encodings = self._encode_pairs(
            pairs,
            add_special_tokens=add_special_tokens,
            truncation=cut,
            is_split_into_words=is_split_into_words,
            split_special_tokens=self.split_special_tokens if split_special_tokens is None else split_special_tokens,
        )
        if max_length is None and cut is None:
            self._warn_of_long_rows(encodings, verbose)
        squeeze = not is_batch and return_tensors is None and not return_overflowing_tokens
        return self._batch(encodings, columns, fill, squeeze=squeeze).convert_to_tensors(return_tensors)

    def encode(
        self,
        text: Any,
        text_pair: Any = None,
        add_special_tokens: bool = True,
        padding: Any = False,
        truncation: Any = None,
        max_length: int | None = None,
        stride: int = 0,
        padding_side: Side | None = None,
        return_tensors: TensorType | None = None,
        **kwargs: Any,
    ) -> Any:
        """The ids of one text, a list or an array (1, sequence); arguments as in `__call__`."""
        return self.encode_plus(
            text,
            text_pair,
            add_special_tokens=add_special_tokens,
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            stride=stride,
            padding_side=padding_side,
            return_tensors=return_tensors,
            **kwargs,
        )["input_ids"]

    def encode_plus(self, text: Any, text_pair: Any = None, **kwargs: Any) -> BatchEncoding:
        """`__call__` with one text."""
        if not isinstance(text, str) and not kwargs.get("is_split_into_words"):
            raise TypeError(f"one text is needed, not a {type(text).__name__}; call the tokenizer itself for a batch")
        return self(text, text_pair, **kwargs)

    def batch_encode_plus(self, batch_text_or_text_pairs: Any, **kwargs: Any) -> BatchEncoding:
        """`__call__` with a list of texts or of pairs of texts."""
        if not isinstance(batch_text_or_text_pairs, (list, tuple)):
            raise TypeError(f"a list of texts is needed, not a {type(batch_text_or_text_pairs).__name__}")
        return self(batch_text_or_text_pairs, **kwargs)

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **kwargs: Any
    ) -> list[str | None]:
        """The tokens of one text; `convert_tokens_to_ids` makes its ids of them."""
        kwargs = {"verbose": False, **kwargs}
        ids: list[int] = self.encode(text, pair, add_special_tokens=add_special_tokens, **kwargs)
        return self.convert_ids_to_tokens(ids)

    # Steps

    def _encode_pairs(
        self,
        pairs: Sequence[Pair],
        *,
        add_special_tokens: bool,
        truncation: Truncation | None,
        is_split_into_words: bool,  # noqa: ARG002  a text says it itself; the fast tokenizer has to be told
        split_special_tokens: bool,
    ) -> list[Any]:
        """For each pair an object with the attributes and methods of a `Row`, cut and with special tokens."""
        signs = self._signs() if add_special_tokens else None
        rows = []
        for first, second in pairs:
            ids = self._text_ids(first, split_special_tokens)
            pair_ids = None if second is None else self._text_ids(second, split_special_tokens)
            rows.append(make_row(ids, pair_ids, signs=signs, truncation=truncation))
        return rows

    def _text_ids(self, text: Text, split_special_tokens: bool) -> list[int]:
        ids: list[int] = []
        for word in [text] if isinstance(text, str) else text:
            for piece in self._reader.pieces(word, split_special_tokens=split_special_tokens):
                if isinstance(piece, int):
                    ids.append(piece)
                else:
                    ids += self._word_ids(piece)
        return ids

    def _word_ids(self, word: str) -> list[int]:
        ids = self._word_cache.get(word)
        if ids is None:
            ids = self._encode_word(word)
            if len(word) <= _LONGEST_CACHED_WORD and len(self._word_cache) < _CACHED_WORDS:
                self._word_cache[word] = ids
        return ids

    def _encode_word(self, word: str) -> list[int]:
        """The ids of one word of a cleaned text."""
        raise NotImplementedError

    def _warn_of_long_rows(self, encodings: Sequence[Any], verbose: bool) -> None:
        longest = max(len(encoding) for encoding in encodings)
        if longest > self.model_max_length:
            message = "a text has %d tokens, more than the %d that the model takes; pass truncation=True to cut it"
            self._log_once(message, verbose, longest, self.model_max_length)
