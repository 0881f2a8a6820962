"""Rows of ids: what a call is given, cut and with special tokens, padded, and joined into columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clip_core.processing.batch import framework_of, to_numpy
from clip_core.tokenization.added import check_surrogates
from clip_core.tokenization.encoding import BatchEncoding

if TYPE_CHECKING:
    from collections.abc import Sequence

    # A text, or its words.
    Text = str | list[str]
    Pair = tuple[Text, Text | None]

    from clip_core.processing.batch import TensorType
    from clip_core.tokenization.lengths import Padding, Side, Truncation


def as_pairs(
    text: Any, text_pair: Any, *, is_split_into_words: bool, allow_surrogates: bool
) -> tuple[list[Pair], bool]:
    """The texts of a call as pairs, and whether it was a batch.

    Args:
        text: a text, a batch of texts, or a batch of pairs.
        text_pair: nothing, or the second texts in the form of the first.
        is_split_into_words: each text is a list of words.
        allow_surrogates: leave halves of surrogate pairs to the cleaning of the text.

    Raises:
        TypeError: something is not a text.
        ValueError: the batch is empty, the two batches differ in length, or a text holds half of a surrogate pair.
    """
    is_batch = _is_list(text) and (not is_split_into_words or (len(text) > 0 and _is_list(text[0])))
    # As in transformers, an empty second text counts in a batch, but not in a call with a single text.
    pairs = _batch_pairs(text, text_pair, is_split_into_words) if is_batch else [(text, text_pair or None)]
    for place, (first, second) in enumerate(pairs):
        where = f"text {place} of the batch" if is_batch else "the text"
        _check(first, where, is_split_into_words, allow_surrogates)
        if second is not None:
            _check(second, f"the second text of {where}", is_split_into_words, allow_surrogates)
    return pairs, is_batch


def _batch_pairs(texts: Sequence[Any], seconds: Any, is_split_into_words: bool) -> list[Any]:
    if not texts:
        raise ValueError("the batch of texts is empty; give at least one text")
    if seconds is None:
        return [tuple(item) if _is_pair(item, is_split_into_words) else (item, None) for item in texts]
    if not _is_list(seconds):
        raise TypeError(f"text is a batch, so text_pair must be one too, not {_shown(seconds)}")
    if len(seconds) != len(texts):
        raise ValueError(f"text holds {len(texts)} texts, but text_pair {len(seconds)}")
    return list(zip(texts, seconds, strict=True))


def _is_pair(item: Any, is_split_into_words: bool) -> bool:
    return _is_list(item) and len(item) == 2 and (not is_split_into_words or all(map(_is_list, item)))


def _check(text: Any, where: str, is_split_into_words: bool, allow_surrogates: bool) -> None:
    words = text if is_split_into_words and _is_list(text) else [text]
    for word in words:
        if not isinstance(word, str):
            wanted = "a list of str (is_split_into_words=True)" if is_split_into_words else "a str"
            raise TypeError(f"{where} is {_shown(word)}, not {wanted}")
        if not allow_surrogates and not word.isascii():
            check_surrogates(word)
    if is_split_into_words and not _is_list(text):
        raise TypeError(f"{where} is {_shown(text)}; with is_split_into_words=True it is a list of words")


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:40]!r}"


@dataclass
class Row:
    """The ids of a text or of a pair; a part of `tokenizers.Encoding`, with its names.

    Attributes:
        ids: token ids.
        special_tokens_mask: 1 where a token was put around the texts, or is padding.
        attention_mask: 0 where it is padding.
        overflowing: rows of what was cut off.
    """

    ids: list[int]
    special_tokens_mask: list[int]
    attention_mask: list[int] = field(init=False)
    overflowing: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.attention_mask = [1] * len(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def pad(self, length: int, *, direction: Side, pad_id: int, **_: Any) -> None:
        """Fill up to a length, in place."""
        missing = length - len(self.ids)
        if missing <= 0:
            return
        for name, value in (("ids", pad_id), ("special_tokens_mask", 1), ("attention_mask", 0)):
            filling = [value] * missing
            column = getattr(self, name)
            setattr(self, name, column + filling if direction == "right" else filling + column)


def make_row(
    first: list[int], second: list[int] | None, *, signs: tuple[int, int] | None, truncation: Truncation | None
) -> Row:
    """The row of a text or of a pair.

    Args:
        first: the ids of the text.
        second: those of the second text of a pair; None for a single text.
        signs: the ids of bos and eos to put around; None for none.
        truncation: where to cut; None for nowhere. What is cut off is in the row's `overflowing`.
    """
    if truncation is None:
        return _joined(first, second, signs)
    special = 0 if signs is None else 2 if second is None else 4
    kept_first, kept_second = truncation.kept(len(first), None if second is None else len(second), special)
    firsts = truncation.windows(first, kept_first)
    seconds: Sequence[list[int] | None] = (
        [None] if second is None or kept_second is None else truncation.windows(second, kept_second)
    )
    row = _joined(firsts[0], seconds[0], signs)
    # In the order of the `tokenizers` library.
    pairs = [(a, b) for a in firsts[1:] for b in seconds] + [(firsts[0], b) for b in seconds[1:]]
    row.overflowing = [_joined(a, b, signs) for a, b in pairs]
    return row


def _joined(first: list[int], second: list[int] | None, signs: tuple[int, int] | None) -> Row:
    if signs is None:
        ids = [*first, *(second or ())]
        return Row(ids, [0] * len(ids))
    bos, eos = signs
    ids, mask = [bos, *first, eos], [1, *[0] * len(first), 1]
    if second is not None:  # CLIP knows no pairs; the form is that of RoBERTa, as in transformers
        ids += [eos, *second, eos]
        mask += [1, *[0] * len(second), 1]
    return Row(ids, mask)


@dataclass(frozen=True)
class Columns:
    """Which columns a result has beside `input_ids`, and whether it has rows of what was cut off."""

    token_type_ids: bool
    attention_mask: bool
    special_tokens_mask: bool
    offset_mapping: bool
    length: bool
    overflowing_tokens: bool

    def of(self, rows: Sequence[Any], samples: Sequence[int]) -> dict[str, Any]:
        """The columns, in transformers' order.

        Args:
            rows: `Row` or `tokenizers.Encoding`.
            samples: for each row, the number of the text that it is of.
        """
        ids = [row.ids for row in rows]
        columns: dict[str, Any] = {"input_ids": ids}
        if self.token_type_ids:
            columns["token_type_ids"] = [[0] * len(row) for row in ids]
        if self.attention_mask:
            columns["attention_mask"] = [row.attention_mask for row in rows]
        if self.special_tokens_mask:
            columns["special_tokens_mask"] = [row.special_tokens_mask for row in rows]
        if self.offset_mapping:
            columns["offset_mapping"] = [row.offsets for row in rows]
        if self.length:
            columns["length"] = [len(row) for row in ids]
        if self.overflowing_tokens:
            columns["overflow_to_sample_mapping"] = list(samples)
        return columns


def pad_columns(
    encoded_inputs: Any, fill: Padding | None, pad_id: int | None, *, with_mask: bool, tensor_type: TensorType | None
) -> BatchEncoding:
    """The same columns, filled up; see `TextEncoding.pad`.

    Args:
        encoded_inputs: columns of one row or of a batch, or a list of rows.
        fill: how; None for not at all.
        pad_id: the id to fill `input_ids` with.
        with_mask: add `attention_mask` where there is none.
        tensor_type: the framework of the result; None for that of `input_ids`.

    Raises:
        ValueError: there are no `input_ids`, or the columns differ in their number of rows.
    """
    columns = _as_columns(encoded_inputs)
    if "input_ids" not in columns:
        raise ValueError(f"rows to fill up need input_ids; given were {', '.join(columns) or 'none'}")
    frameworks = {framework_of(columns["input_ids"]), *map(framework_of, columns["input_ids"][:1])} - {None}
    columns = {name: _as_lists(value) for name, value in columns.items()}
    ids = columns["input_ids"]
    is_batch = not ids or isinstance(ids[0], list)
    if not is_batch:
        columns = {name: [value] for name, value in columns.items()}
    counts = {name: len(value) for name, value in columns.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"the columns differ in their number of rows: {counts}")
    rows = columns["input_ids"]
    if with_mask and "attention_mask" not in columns:
        columns["attention_mask"] = [[1] * len(row) for row in rows]
    if fill is not None:
        length = fill.target([len(row) for row in rows])
        fillings = {"input_ids": pad_id, "attention_mask": 0, "token_type_ids": 0, "special_tokens_mask": 1}
        for name in fillings.keys() & columns.keys():
            columns[name] = [_filled(row, length, fillings[name], fill.side) for row in columns[name]]
    data = columns if is_batch else {name: value[0] for name, value in columns.items()}
    return BatchEncoding(data, tensor_type=tensor_type or next(iter(frameworks), None))


def _as_columns(encoded_inputs: Any) -> dict[str, Any]:
    if isinstance(encoded_inputs, Mapping):
        return dict(encoded_inputs)
    rows = list(encoded_inputs)
    if not rows or not all(isinstance(row, Mapping) for row in rows):
        raise ValueError("rows to fill up are a dict of columns, or a list of dicts that is not empty")
    return {name: [row[name] for row in rows] for name in rows[0]}


def _as_lists(value: Any) -> Any:
    if framework_of(value):
        return to_numpy(value).tolist()
    if isinstance(value, (list, tuple)):
        return [_as_lists(item) for item in value]
    return value


def _filled(row: list[int], length: int, value: Any, side: str) -> list[int]:
    filling = [value] * (length - len(row))
    return row + filling if side == "right" else filling + row
