"""Rows of ids: the texts of a call checked, their ids joined with special tokens, padded, and put into columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from clip_core.processing.encoding import BatchEncoding
from clip_core.tokenization.added import check_surrogates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    # A text, or its words.
    Text = str | list[str]
    Pair = tuple[Text, Text | None]

    from clip_core.tokenization.lengths import CallOptions, Padding, Side, Truncation

_LISTS = (list, tuple)

# The columns beside `input_ids`, in transformers' order -> the option that asks for them, and their value for a row.
_COLUMNS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "token_type_ids": ("return_token_type_ids", lambda row: [0] * len(row)),
    "attention_mask": ("return_attention_mask", attrgetter("attention_mask")),
    "special_tokens_mask": ("return_special_tokens_mask", attrgetter("special_tokens_mask")),
    "offset_mapping": ("return_offsets_mapping", attrgetter("offsets")),
    "length": ("return_length", len),
}


def as_pairs(
    text: Any, text_pair: Any, *, is_split_into_words: bool, allow_surrogates: bool
) -> tuple[list[Pair], bool]:
    """Return the texts of a call as pairs, and whether they are a batch; arguments as in a call."""
    is_batch = isinstance(text, _LISTS) and (not is_split_into_words or (len(text) > 0 and isinstance(text[0], _LISTS)))
    # As in transformers, an empty second text counts in a batch, but not in a call with a single text.
    pairs = _batch_pairs(text, text_pair, is_split_into_words) if is_batch else [(text, text_pair or None)]
    for place, (first, second) in enumerate(pairs):
        if second is None and not is_split_into_words and isinstance(first, str) and first.isascii():
            continue  # the usual case, which nothing is wrong with
        where = f"text {place} of the batch" if is_batch else "the text"
        _check(first, where, is_split_into_words, allow_surrogates)
        if second is not None:
            _check(second, f"the second text of {where}", is_split_into_words, allow_surrogates)
    return pairs, is_batch


def _batch_pairs(texts: Sequence[Any], seconds: Any, words: bool) -> list[Any]:
    if not texts:
        raise ValueError("the batch of texts is empty; give at least one text")
    if seconds is None:
        return [(item, None) if isinstance(item, str) or not _is_pair(item, words) else tuple(item) for item in texts]
    if not isinstance(seconds, _LISTS):
        raise TypeError(f"text is a batch, so text_pair must be one too, not {_shown(seconds)}")
    if len(seconds) != len(texts):
        raise ValueError(f"text holds {len(texts)} texts, but text_pair {len(seconds)}")
    return list(zip(texts, seconds, strict=True))


def _is_pair(item: Any, words: bool) -> bool:
    return isinstance(item, _LISTS) and len(item) == 2 and (not words or all(isinstance(one, _LISTS) for one in item))


def _check(text: Any, where: str, words: bool, allow_surrogates: bool) -> None:
    for word in text if words and isinstance(text, _LISTS) else [text]:
        if not isinstance(word, str):
            wanted = "a list of str (is_split_into_words=True)" if words else "a str"
            raise TypeError(f"{where} is {_shown(word)}, not {wanted}")
        if not allow_surrogates and not word.isascii():
            check_surrogates(word)
    if words and not isinstance(text, _LISTS):
        raise TypeError(f"{where} is {_shown(text)}; with is_split_into_words=True it is a list of words")


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:40]!r}"


@dataclass
class Row:
    """The ids and masks of a text or a pair, and the rows cut off, by the names that `tokenizers.Encoding` has."""

    ids: list[int]
    special_tokens_mask: list[int]
    attention_mask: list[int] = field(init=False)
    overflowing: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.attention_mask = [1] * len(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def pad(self, length: int, *, direction: Side, pad_id: int, **_: Any) -> None:
        """Pad to a length, in place."""
        self.ids = padded(self.ids, length, pad_id, direction)
        self.special_tokens_mask = padded(self.special_tokens_mask, length, 1, direction)
        self.attention_mask = padded(self.attention_mask, length, 0, direction)


def make_row(texts: list[list[int]], signs: tuple[int, int] | None, cut: Truncation | None) -> Row:
    """Return the row of a text or a pair, given by their ids; what is cut off is in its `overflowing`.

    `signs` are the ids of bos and eos to put around each text.
    """
    special = 2 * len(texts) if signs else 0
    if cut is None or sum(map(len, texts)) + special <= cut.max_length:
        return _joined(texts, signs)
    kept = cut.kept(len(texts[0]), len(texts[1]) if len(texts) > 1 else None, special)
    windows = [cut.windows(ids, length) for ids, length in zip(texts, kept, strict=False) if length is not None]
    rows = [_joined(parts, signs) for parts in product(*windows)]
    first = len(rows) // len(windows[0])  # those that begin with the first window
    rows[0].overflowing = rows[first:] + rows[1:first]  # in the order of the `tokenizers` library
    return rows[0]


def _joined(texts: Iterable[list[int]], signs: tuple[int, int] | None) -> Row:
    row, mask = [], []
    for ids in texts:
        if signs is None:
            row += ids
            mask += [0] * len(ids)
        else:  # CLIP has no pairs; the form is that of RoBERTa, `bos A eos eos B eos`, as in transformers
            row += [signs[1] if row else signs[0], *ids, signs[1]]
            mask += [1, *[0] * len(ids), 1]
    return Row(row, mask)


def make_batch(
    tokenizer: Any, rows: list[Any], options: CallOptions, fill: Padding | None, *, squeeze: bool
) -> BatchEncoding:
    """Return the columns of rows (`Row` or `tokenizers.Encoding`), padded; with `squeeze`, a single row as numbers."""
    if options.return_overflowing_tokens:
        samples = [sample for sample, row in enumerate(rows) for _ in (row, *row.overflowing)]
        rows = [part for row in rows for part in (row, *row.overflowing)]
    if fill is not None:
        length, pad_token = fill.target(list(map(len, rows))), tokenizer.table.named["pad_token"]
        pad_id = tokenizer.table.ids[pad_token]
        for row in rows:
            row.pad(length, direction=fill.side, pad_id=pad_id, pad_token=pad_token)
    data: dict[str, Any] = {"input_ids": list(map(attrgetter("ids"), rows))}
    defaults = tokenizer.model_input_names
    for name, (option, value) in _COLUMNS.items():
        asked = getattr(options, option)
        if asked or (asked is None and name in defaults):
            data[name] = list(map(value, rows))
    if options.return_overflowing_tokens:
        data["overflow_to_sample_mapping"] = samples
    if squeeze:
        data = {name: value[0] if isinstance(value[0], list) else value for name, value in data.items()}
    return BatchEncoding(data, rows if hasattr(rows[0], "offsets") else None, options.return_tensors)


def padded(row: list[int], length: int, value: Any, side: str) -> list[int]:
    """Return a row padded with a value; one that is long enough stays as it is."""
    filling = [value] * (length - len(row))
    return row + filling if side == "right" else filling + row
