"""The arguments and results of tokenizers: texts and pairs; ids and masks by name, with positions. Internal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from clip_core.configuration.arguments import check_surrogates, shown
from clip_core.processing.batch import BatchFeature, TensorType, check_tensor_type
from clip_core.processing.frameworks import NUMPY, by_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    # A text, or its words.
    Text = str | list[str]
    Pair = tuple[Text, Text | None]

_LISTS = (list, tuple)


class CharSpan(NamedTuple):
    """Characters of a text, from `start` to `end` (exclusive)."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens of a row, from `start` to `end` (exclusive)."""

    start: int
    end: int


class BatchEncoding(BatchFeature):
    """A dict of `input_ids`, `attention_mask` and other columns, whose keys are also attributes.

    The fast tokenizer's result also maps tokens to words and characters. As in transformers, those methods take a row
    and an index in that row, or only an index for row 0.

    Args:
        data: the columns; lists, or arrays of any framework, `(batch, sequence)`.
        encoding: one `tokenizers.Encoding` for each row.
        tensor_type: convert the columns to this framework's arrays, with ids in its own integer dtype.
        prepend_batch_axis: make an array of one row two-dimensional, `(1, sequence)`.
        n_sequences: 1 for single texts, 2 for pairs.
    """

    def __init__(
        self,
        data: dict[str, Any] | None = None,
        encoding: Sequence[Any] | None = None,
        tensor_type: TensorType | None = None,
        prepend_batch_axis: bool = False,
        n_sequences: int | None = None,
    ) -> None:
        self._encodings = None if encoding is None else list(encoding)
        self._n_sequences = self._encodings[0].n_sequences if self._encodings and n_sequences is None else n_sequences
        self.data = dict(data or {})
        self.convert_to_tensors(tensor_type, prepend_batch_axis)

    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            return self.data[key]
        if self._encodings is not None:
            return self._encodings[key]
        if isinstance(key, slice):
            return {name: value[key] for name, value in self.data.items()}
        raise KeyError(f"{key!r}: without a fast tokenizer's encodings, a key is a name or a slice of rows")

    def convert_to_tensors(self, tensor_type: TensorType | None = None, prepend_batch_axis: bool = False) -> Self:
        """Convert every column to a framework's arrays, in place.

        Args:
            tensor_type: the name of the framework's arrays, such as "np"; None changes nothing.
            prepend_batch_axis: make each column a batch of one.

        Returns:
            This object.

        Raises:
            ValueError: the rows differ in length.
        """
        if tensor_type is None:
            return self
        framework = NUMPY if tensor_type == NUMPY.name else by_name().get(tensor_type)
        if framework is None:  # an enum, or an unknown name
            framework = by_name()[check_tensor_type(tensor_type)]
        are_ids = True
        for name, column in self.data.items():
            value: Any = [column] if prepend_batch_axis else column
            try:
                array = value if hasattr(value, "dtype") else np.asarray(value)
            except ValueError as error:
                raise ValueError(
                    f"{name} cannot be converted to a tensor: the rows differ in length; pass padding=True, and "
                    "truncation=True for texts longer than the model takes"
                ) from error
            if array is not value and (array.size == 0 or array.dtype.kind in "iub"):  # the most common case
                array = framework.from_numpy(array.astype(framework.integer, copy=False))
            else:
                are_ids = False
            self.data[name] = array
        return self if are_ids else super().convert_to_tensors(framework.name)

    @property
    def encodings(self) -> list[Any] | None:
        """The `tokenizers.Encoding` of each row; None unless the rows come from the fast tokenizer."""
        return self._encodings

    @property
    def is_fast(self) -> bool:
        """True if the rows have encodings."""
        return self._encodings is not None

    @property
    def n_sequences(self) -> int | None:
        """1 for single texts, 2 for pairs, None if unknown."""
        return self._n_sequences

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Return the tokens of a row.

        Args:
            batch_index: index of the row.

        Raises:
            ValueError: the rows have no encodings. All methods below raise this error, too.
        """
        return list(self._row(batch_index).tokens)

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return, for each token of a row, the index of its text in the pair; None for special tokens.

        Args:
            batch_index: index of the row.
        """
        return list(self._row(batch_index).sequence_ids)

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return, for each token of a row, the index of its word; None for special tokens.

        Args:
            batch_index: index of the row.
        """
        return list(self._row(batch_index).word_ids)

    words = word_ids  # the older name

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Return the index of a token's text in the pair; None for special tokens.

        Args:
            batch_or_token_index: index of the row, or of the token if it is the only index.
            token_index: index of the token in the row; negative counts from the end.
        """
        index: int | None = self._found("token_to_sequence", batch_or_token_index, token_index)
        return index

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Return the index of a token's word; None for special tokens.

        Args:
            batch_or_token_index: as in `token_to_sequence`.
            token_index: as in `token_to_sequence`.
        """
        index: int | None = self._found("token_to_word", batch_or_token_index, token_index)
        return index

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """Return the characters of the text that a token covers; None for special tokens.

        Args:
            batch_or_token_index: as in `token_to_sequence`.
            token_index: as in `token_to_sequence`.
        """
        span = self._found("token_to_chars", batch_or_token_index, token_index)
        return None if span is None else CharSpan(*span)

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """Return the tokens of a word; None if it has none.

        Args:
            batch_or_word_index: index of the row, or of the word if it is the only index.
            word_index: index of the word in its text.
            sequence_index: index of the text in a pair.
        """
        span = self._found("word_to_tokens", batch_or_word_index, word_index, sequence_index)
        return None if span is None else TokenSpan(*span)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """Return the characters of a word; None if there is no such word.

        Args:
            batch_or_word_index: as in `word_to_tokens`.
            word_index: as in `word_to_tokens`.
            sequence_index: as in `word_to_tokens`.
        """
        span = self._found("word_to_chars", batch_or_word_index, word_index, sequence_index)
        return None if span is None else CharSpan(*span)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the index of the token that covers a character; None if no token does, as for white space.

        Args:
            batch_or_char_index: index of the row, or of the character if it is the only index.
            char_index: index of the character in its text.
            sequence_index: index of the text in a pair.
        """
        index: int | None = self._found("char_to_token", batch_or_char_index, char_index, sequence_index)
        return index

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the index of the word that covers a character; None if no word does.

        Args:
            batch_or_char_index: as in `char_to_token`.
            char_index: as in `char_to_token`.
            sequence_index: as in `char_to_token`.
        """
        index: int | None = self._found("char_to_word", batch_or_char_index, char_index, sequence_index)
        return index

    def _row(self, row: int) -> Any:
        if self._encodings is None:
            raise ValueError(
                "only CLIPTokenizerFast (with clean='hf') records which characters each token covers; this encoding "
                "is from another tokenizer"
            )
        return self._encodings[row]

    def _found(self, method: str, row_or_place: int, place: int | None, *sequence: int) -> Any:
        """Call a method of a row's encoding with a token, word or character; negative tokens count from the end."""
        row, place = (self._row(0), row_or_place) if place is None else (self._row(row_or_place), place)
        if place < 0 and method.startswith("token"):
            place += len(row)
        return getattr(row, method)(place, *sequence)


def first_row(columns: dict[str, Any], *, keep_length: bool = False) -> dict[str, Any]:
    """Return the first row of columns.

    Args:
        columns: the columns of a batch.
        keep_length: leave `length` a list, as transformers' fast tokenizer does, unlike its slow one.
    """
    return {name: column if keep_length and name == "length" else column[0] for name, column in columns.items()}


def as_pairs(text: Any, text_pair: Any, *, words: bool, allow_surrogates: bool) -> tuple[list[Pair], bool]:
    """Return the texts of a call as pairs, and True for a batch; with `words`, each text is a list of words."""
    is_batch = isinstance(text, _LISTS) and (not words or (len(text) > 0 and isinstance(text[0], _LISTS)))
    if not is_batch:
        pairs = [(text, text_pair or None)]  # as in transformers, an empty second text counts only in a batch
    elif not text:
        raise ValueError("the batch of texts is empty; give at least one text")
    elif text_pair is None:
        pairs = []
        for one in text:
            is_pair = isinstance(one, _LISTS) and len(one) == 2
            if is_pair and words:
                is_pair = isinstance(one[0], _LISTS) and isinstance(one[1], _LISTS)
            pairs.append(tuple(one) if is_pair else (one, None))
    elif not isinstance(text_pair, _LISTS):
        raise TypeError(f"text is a batch, so text_pair must be a batch, too, not {shown(text_pair)}")
    elif len(text_pair) != len(text):
        raise ValueError(f"text has {len(text)} texts, but text_pair has {len(text_pair)}")
    else:
        pairs = list(zip(text, text_pair, strict=True))
    _check_texts(pairs, is_batch=is_batch, words=words, allow_surrogates=allow_surrogates)
    return pairs, is_batch


class TextTypeError(TypeError, ValueError):
    """A text that is not a str; a `ValueError` too, as in transformers."""


def _check_texts(pairs: list[Pair], *, is_batch: bool, words: bool, allow_surrogates: bool) -> None:
    unusual: list[str] = []
    for place, (first, second) in enumerate(pairs):
        is_plain = second is None or (isinstance(second, str) and second.isascii())
        if is_plain and not words and isinstance(first, str) and first.isascii():
            continue  # the usual case, which needs no other check
        for which, text in enumerate((first,) if second is None else (first, second)):
            for word in text if words and isinstance(text, _LISTS) else (text,):
                if not isinstance(word, str) or (words and word is text):
                    where = f"text {place} of the batch" if is_batch else "the text"
                    where = f"the second text of {where}" if which else where
                    wanted = "a list of str (is_split_into_words=True)" if words else "a str"
                    raise TextTypeError(f"{where} is {shown(word)}, not {wanted}")
                unusual.append(word)
    if not unusual:
        return
    try:
        "".join(unusual).encode("utf-8", "surrogatepass" if allow_surrogates else "strict")
    except UnicodeEncodeError:
        check_surrogates(*unusual)
