"""Rows of ids: the options of a call, truncation, padding and columns; and the texts of a call, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from clip_core.configuration.arguments import check_lengths, shown
from clip_core.tokenization.unicode import check_surrogates

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from clip_core.processing.batch import TensorType

    # A text, or its words.
    Text = str | list[str]
    Pair = tuple[Text, Text | None]

Side = Literal["left", "right"]
SIDES = ("right", "left")

# The values of an option -> their meaning.
_PADDING = {True: "longest", "longest": "longest", "max_length": "max_length", False: None, "do_not_pad": None}
_TRUNCATION = {True: "longest_first", False: None, None: None, "do_not_truncate": None}
_TRUNCATION |= {name: name for name in ("longest_first", "only_first", "only_second")}

NO_MAX_LENGTH = int(1e30)  # as in transformers, where any number above 1e20 counts as no maximum length

_LISTS = (list, tuple)


def one_of(values: Collection[Any], name: str, given: Any) -> Any:
    """Return the value of the option `name`, or of an enum in its place; raise a ValueError for any other value."""
    value = getattr(given, "value", given)
    if value not in [*values]:
        raise ValueError(f"{name}={given!r} is not known; it is one of {', '.join(map(repr, values))}")
    return value


@dataclass
class CallOptions:
    """Keywords of a call and their defaults, in the order of transformers; see `CLIPTokenizerBase.__call__`."""

    add_special_tokens: bool = True
    padding: Any = False
    truncation: Any = None
    max_length: int | None = None
    stride: int = 0
    is_split_into_words: bool = False
    pad_to_multiple_of: int | None = None
    padding_side: Side | None = None
    return_tensors: TensorType | None = None
    return_token_type_ids: bool | None = None
    return_attention_mask: bool | None = None
    return_overflowing_tokens: bool = False
    return_special_tokens_mask: bool = False
    return_offsets_mapping: bool = False
    return_length: bool = False
    verbose: bool = True
    split_special_tokens: bool | None = None

    def columns(self, defaults: Sequence[str]) -> list[str]:
        """Return the names of the columns beside `input_ids`; `defaults` decides those whose option is None."""
        asked = {
            "token_type_ids": self.return_token_type_ids,
            "attention_mask": self.return_attention_mask,
            "special_tokens_mask": self.return_special_tokens_mask,
            "offset_mapping": self.return_offsets_mapping,
            "length": self.return_length,
        }
        return [name for name, value in asked.items() if (name in defaults if value is None else value)]

    def settle(self, tokenizer: Any) -> None:
        """Resolve the options of padding and truncation, with the settings of a tokenizer; None means neither.

        Raises:
            ValueError: an option is not valid, or there is no token to pad with.
        """
        if self.split_special_tokens is None:
            self.split_special_tokens = tokenizer.split_special_tokens
        if self.stride or self.max_length is not None or self.pad_to_multiple_of is not None:
            check_lengths(self)
        padding = one_of(_PADDING, "padding", self.padding)
        truncation = one_of(_TRUNCATION, "truncation", self.truncation)
        if self.max_length is not None and padding is False and truncation is None:
            tokenizer.warn_once("max_length cuts texts; pass truncation=True to say that it should", self.verbose)
            truncation = True
        self.padding, self.truncation = _PADDING[padding], _TRUNCATION[truncation]
        if self.max_length is None and (self.truncation is not None or self.padding == "max_length"):
            self.max_length = tokenizer.model_max_length
            if tokenizer.model_max_length > 1e20:
                message = "no max_length is given and the model states none: rows are neither cut nor padded to it"
                tokenizer.warn_once(message, self.verbose)
                self.max_length = self.truncation = None
                self.padding = None if self.padding == "max_length" else self.padding
        self.stride = self.stride if self.return_overflowing_tokens else 0
        if self.padding is not None:
            if tokenizer.table.named["pad_token"] is None:
                raise ValueError("padding needs a pad_token; set tokenizer.pad_token = tokenizer.eos_token, for one")
            if self.truncation is not None and (self.max_length or 0) % (self.pad_to_multiple_of or 1):
                wrong = f"max_length={self.max_length} is not a multiple of "
                raise ValueError(f"{wrong}pad_to_multiple_of={self.pad_to_multiple_of}")
            self.padding_side = one_of(SIDES, "padding_side", self.padding_side or tokenizer.padding_side)

    def target(self, rows: Sequence[Any]) -> int:
        """Return the length to pad rows to; longer ones stay as they are."""
        target = max(map(len, rows), default=0) if self.padding == "longest" else self.max_length or 0
        return -(-target // (self.pad_to_multiple_of or 1)) * (self.pad_to_multiple_of or 1)

    def pad(self, tokenizer: Any, columns: dict[str, Any], ids: str = "input_ids") -> None:
        """Pad the rows of columns in place if padding is asked for; `ids` is the name of the column of ids."""
        if self.padding is None:
            return
        target, right, table = self.target(columns[ids]), self.padding_side == "right", tokenizer.table
        values = {ids: table.ids[table.named["pad_token"]], "token_type_ids": tokenizer.pad_token_type_id}
        values |= {"attention_mask": 0, "special_tokens_mask": 1}
        for name in values.keys() & columns.keys():
            filling = [values[name]] * target
            rows = ((row, filling[len(row) :]) for row in columns[name])
            columns[name] = [row + rest if right else rest + row for row, rest in rows]

    def kept(self, lengths: Sequence[int], special: int) -> list[int]:
        """Return the number of tokens to keep of a text, or of each text of a pair.

        Raises:
            ValueError: the `special` tokens are too many, the strategy cannot cut enough, or `stride` is too long.
        """
        room, kept = (self.max_length or 0) - special, list(lengths)
        excess = sum(lengths) - room
        if room < 0:
            raise ValueError(f"max_length={self.max_length} is less than the {special} special tokens of a row")
        if excess <= 0:
            return kept
        if room == 0:
            return [0] * len(lengths)
        if self.truncation == "longest_first":
            # The longer text of a pair is cut to the shorter, then both to half.
            longer = max(range(len(lengths)), key=lambda place: (lengths[place], place))
            kept = [0 if place == longer else min(length, room // 2) for place, length in enumerate(lengths)]
            kept[longer] = room - sum(kept)
        else:
            place = int(self.truncation == "only_second")
            if place == len(lengths):
                raise ValueError("truncation='only_second' needs a pair of texts; use True or 'only_first'")
            kept[place] -= excess
            if kept[place] <= 0:
                raise ValueError(
                    f"truncation={self.truncation!r} cannot reach max_length={self.max_length}: of the text's "
                    f"{lengths[place]} tokens, {excess} are too many; use truncation='longest_first'"
                )
        for length, before in zip(kept, lengths, strict=True):
            if length != before and 0 < length <= self.stride:
                raise ValueError(f"stride={self.stride} must be less than the {length} tokens a row has for its text")
        return kept


def make_columns(tokenizer: Any, texts: list[list[list[int]]], asked: CallOptions) -> dict[str, Any]:
    """Return the columns of rows, each given as the ids of one text or of two."""
    names = asked.columns(tokenizer.model_input_names)
    rows = [_row(tokenizer, parts, asked, names) for parts in texts]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    asked.pad(tokenizer, columns)
    if asked.return_length:
        columns["length"] = list(map(len, columns["input_ids"]))
    return columns


def _row(tokenizer: Any, texts: list[list[int]], asked: CallOptions, names: list[str]) -> dict[str, Any]:
    # By the tokenizer's methods, which a subclass may override.
    join = tokenizer.build_inputs_with_special_tokens if asked.add_special_tokens else _joined
    ids, cut_off = join(*texts), []
    excess = 0 if asked.max_length is None else len(ids) - asked.max_length
    if asked.return_overflowing_tokens and asked.truncation == "longest_first" and len(texts) > 1:
        raise ValueError("of a pair, truncation='only_first' or 'only_second' can return overflowing tokens")
    if asked.truncation is not None and excess > 0:
        kept = asked.kept([*map(len, texts)], len(ids) - sum(map(len, texts)))
        for place, (part, length) in enumerate(zip(texts, kept, strict=True)):
            if length < len(part):
                texts[place], rest = _cut(part, length, asked.stride, tokenizer.truncation_side)
                cut_off += rest
        ids = join(*texts)
    row = {"overflowing_tokens": cut_off, "num_truncated_tokens": excess} if asked.return_overflowing_tokens else {}
    row["input_ids"] = ids
    for name in names:
        row[name] = [int(name == "attention_mask")] * len(ids)
        if asked.add_special_tokens and name == "token_type_ids":
            row[name] = tokenizer.create_token_type_ids_from_sequences(*texts)
        elif asked.add_special_tokens and name == "special_tokens_mask":
            row[name] = tokenizer.get_special_tokens_mask(*texts)
    return row


def _joined(*texts: list[int]) -> list[int]:
    return [token_id for part in texts for token_id in part]


def _cut(ids: list[int], length: int, stride: int, side: Side) -> tuple[list[int], list[int]]:
    """Return the ids kept of a text, and those cut off together with `stride` of the kept ones."""
    if side == "right":
        return ids[:length], ids[max(length - stride, 0) :]
    return ids[-length:] if length else [], ids[: len(ids) - length + stride]


def as_pairs(
    text: Any, text_pair: Any, *, is_split_into_words: bool, allow_surrogates: bool
) -> tuple[list[Pair], bool]:
    """Return the texts of a call as pairs, and True if they are a batch. Takes the arguments of a call.

    Raises:
        TypeError: something is not a text.
        ValueError: a batch is empty, two batches differ in length, or a text holds half of a surrogate pair.
    """
    words = is_split_into_words
    is_batch = isinstance(text, _LISTS) and (not words or (len(text) > 0 and isinstance(text[0], _LISTS)))
    # As in transformers, an empty second text counts in a batch, but not in a call with a single text.
    pairs = _batch_pairs(text, text_pair, words) if is_batch else [(text, text_pair or None)]
    for place, (first, second) in enumerate(pairs):
        if second is None and not words and isinstance(first, str) and first.isascii():
            continue  # the usual case, which is always right
        where = f"text {place} of the batch" if is_batch else "the text"
        _check(first, where, words, allow_surrogates)
        if second is not None:
            _check(second, f"the second text of {where}", words, allow_surrogates)
    return pairs, is_batch


def _batch_pairs(texts: Sequence[Any], seconds: Any, words: bool) -> list[Any]:
    if not texts:
        raise ValueError("the batch of texts is empty; give at least one text")
    if seconds is None:
        return [(item, None) if isinstance(item, str) or not _is_pair(item, words) else tuple(item) for item in texts]
    if not isinstance(seconds, _LISTS):
        raise TypeError(f"text is a batch, so text_pair must be one too, not {shown(seconds)}")
    if len(seconds) != len(texts):
        raise ValueError(f"text holds {len(texts)} texts, but text_pair {len(seconds)}")
    return list(zip(texts, seconds, strict=True))


def _is_pair(item: Any, words: bool) -> bool:
    return isinstance(item, _LISTS) and len(item) == 2 and (not words or all(isinstance(one, _LISTS) for one in item))


def _check(text: Any, where: str, words: bool, allow_surrogates: bool) -> None:
    wanted = "a list of str (is_split_into_words=True)" if words else "a str"
    for word in text if words and isinstance(text, _LISTS) else [text]:
        if not isinstance(word, str) or (words and word is text):
            raise TypeError(f"{where} is {shown(word)}, not {wanted}")
        if not allow_surrogates and not word.isascii():
            check_surrogates(word)
