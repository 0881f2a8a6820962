"""Rows of ids: the options of a call, truncation, padding and columns, and checks of the texts of a call."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import repeat, starmap
from operator import mul
from typing import TYPE_CHECKING, Any, Literal

from clip_core.configuration.arguments import check_integers, shown
from clip_core.tokenization.unicode import check_surrogates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_core.processing.batch import TensorType

    # A text, or its words.
    Text = str | list[str]
    Pair = tuple[Text, Text | None]

Side = Literal["left", "right"]

# The values of each option -> their meaning.
_PADDING = {True: "longest", "longest": "longest", "max_length": "max_length", False: None, "do_not_pad": None}
_TRUNCATION = {True: "longest_first", False: None, None: None, "do_not_truncate": None}
_TRUNCATION |= {name: name for name in ("longest_first", "only_first", "only_second")}
_SIDES = ("right", "left")
_VALUES: dict[str, Any] = {"padding": tuple(_PADDING), "truncation": tuple(_TRUNCATION), "clean": ("hf", "openai")}
_VALUES |= {"padding_side": _SIDES, "truncation_side": _SIDES}

NO_MAX_LENGTH = int(1e30)  # as in transformers, where any number above 1e20 counts as no maximum length

_LISTS = (list, tuple)

# Columns -> the methods that make them. A subclass may override these.
_MAKERS = {"token_type_ids": "create_token_type_ids_from_sequences", "special_tokens_mask": "get_special_tokens_mask"}


def check_values(owner: Any, *names: str) -> None:
    """Replace enums in attributes by their values, and raise a ValueError for values that an option does not have."""
    for name in names:
        given = getattr(owner, name)
        value = getattr(given, "value", given)
        if value not in _VALUES[name]:
            raise ValueError(f"{name}={given!r} is unknown; choose from {', '.join(map(repr, _VALUES[name]))}")
        if value is not given:
            setattr(owner, name, value)


@dataclass
class CallOptions:
    """Keywords of a call with their defaults, in transformers' order; see `CLIPTokenizerBase.__call__`."""

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
    columns = tuple[str, ...]()  # not a keyword: the names of the columns beside the ids, set once they are known

    @classmethod
    def settled(cls, tokenizer: Any, method: str, given: dict[str, Any]) -> CallOptions:
        """Return the keywords of a method, with the tokenizer's settings; no padding and no truncation become None."""
        try:
            asked = cls(**given)
        except TypeError:
            unknown, has = min(given.keys() - cls.__dataclass_fields__), ", ".join(cls.__dataclass_fields__)
            raise TypeError(f"{type(tokenizer).__name__}.{method}() has no keyword {unknown!r}; it has {has}") from None
        if asked.stride or asked.max_length is not None or asked.pad_to_multiple_of is not None:
            lengths = {name: (getattr(asked, name), 0) for name in ("max_length", "stride", "pad_to_multiple_of")}
            check_integers(optional=True, most=float("inf"), **lengths)
        asked.padding_side = asked.padding_side or tokenizer.padding_side
        if asked.split_special_tokens is None:
            asked.split_special_tokens = tokenizer.split_special_tokens
        check_values(asked, "padding", "truncation", "padding_side")
        if asked.max_length is not None and asked.padding is False and asked.truncation is None:
            tokenizer.warn_once("max_length truncates texts; pass truncation=True to confirm this", asked.verbose)
            asked.truncation = True
        asked.padding, asked.truncation = _PADDING[asked.padding], _TRUNCATION[asked.truncation]
        if asked.max_length is None and (asked.truncation is not None or asked.padding == "max_length"):
            asked.max_length = tokenizer.model_max_length
            if tokenizer.model_max_length > 1e20:
                message = "without max_length and a limit of the model, rows are neither cut nor padded to it"
                tokenizer.warn_once(message, asked.verbose)
                asked.max_length = asked.truncation = None
                asked.padding = None if asked.padding == "max_length" else asked.padding
        asked.stride = asked.stride if asked.return_overflowing_tokens else 0
        if asked.padding is not None:
            if tokenizer.table.named["pad_token"] is None:
                raise ValueError("padding needs a pad_token; set, say, tokenizer.pad_token = tokenizer.eos_token")
            length, multiple = asked.max_length or 0, asked.pad_to_multiple_of or 1
            if asked.truncation is not None and length % multiple:
                raise ValueError(f"max_length={length} is not a multiple of pad_to_multiple_of={multiple}")
        columns = {"token_type_ids": asked.return_token_type_ids, "attention_mask": asked.return_attention_mask}
        columns |= {"special_tokens_mask": asked.return_special_tokens_mask}
        columns |= {"offset_mapping": asked.return_offsets_mapping, "length": asked.return_length}
        names = tokenizer.model_input_names
        asked.columns = (*[name for name, value in columns.items() if (name in names if value is None else value)],)
        return asked

    def target(self, rows: Sequence[Any]) -> int:
        """Return the length to pad rows to. Longer rows are not changed."""
        target, multiple = self.max_length or 0, self.pad_to_multiple_of or 1
        target = max(map(len, rows), default=0) if self.padding == "longest" else target
        return -(-target // multiple) * multiple

    def pad(self, tokenizer: Any, columns: dict[str, Any], ids: str = "input_ids") -> None:
        """Pad the rows of columns if padding is requested; `ids` is the name of the column of ids."""
        if self.padding is None:
            return
        target, right, table = self.target(columns[ids]), self.padding_side == "right", tokenizer.table
        values = {ids: table.ids[table.named["pad_token"]], "token_type_ids": tokenizer.pad_token_type_id}
        values |= {"attention_mask": 0, "special_tokens_mask": 1}
        for name in values.keys() & columns.keys():
            for place, row in enumerate(columns[name]):
                filling = [values[name]] * (target - len(row))
                columns[name][place] = row + filling if right else filling + row

    def kept(self, lengths: Sequence[int], special: int) -> list[int]:
        """Return the number of tokens to keep from each text of a row with that many special tokens."""
        room, kept = (self.max_length or 0) - special, list(lengths)
        excess = sum(lengths) - room
        if room < 0:
            raise ValueError(f"max_length={self.max_length} leaves no room for the {special} special tokens of a row")
        if excess <= 0 or room == 0:
            return kept if excess <= 0 else [0] * len(lengths)
        if self.truncation == "longest_first":
            # The longer text of a pair is truncated to the length of the shorter, then both to half.
            shorter = min(*lengths, room // 2) if len(lengths) > 1 else 0
            kept = [shorter] * len(lengths)
            kept[-1 if lengths[-1] >= lengths[0] else 0] = room - shorter
        else:
            place = int(self.truncation == "only_second")
            if place == len(lengths):
                raise ValueError("truncation='only_second' needs a pair of texts; use True or 'only_first'")
            kept[place] -= excess
            if kept[place] <= 0:
                raise ValueError(
                    f"truncation={self.truncation!r} cannot reach max_length={self.max_length}: of the text's "
                    f"{lengths[place]} tokens, {excess} would have to go; use truncation='longest_first'"
                )
        for length, before in zip(kept, lengths, strict=True):
            if length != before and 0 < length <= self.stride:
                raise ValueError(f"stride={self.stride} must be less than {length}, the number of text tokens in a row")
        return kept


def ends(table: Any) -> tuple[int, int]:
    """Return the ids of `bos_token` and `eos_token`; raise a ValueError if either is None."""
    bos, eos = table.named["bos_token"], table.named["eos_token"]
    if bos is None or eos is None:
        hint = "set both, or pass add_special_tokens=False"
        raise ValueError(f"bos_token={bos!r} and eos_token={eos!r} cannot start and end a text; {hint}")
    return table.ids[bos], table.ids[eos]


def build_inputs_with_special_tokens(tokenizer: Any, token_ids_0: list[int], token_ids_1: Any = None) -> list[int]:
    """Return the ids of a text between bos_token and eos_token, or of a pair as `bos A eos eos B eos`.

    Args:
        token_ids_0: the ids of a text.
        token_ids_1: the ids of the second text of a pair. CLIP has no pairs; the format is that of RoBERTa.

    Raises:
        ValueError: bos_token or eos_token is None.
    """
    texts = [token_ids_0] if token_ids_1 is None else [token_ids_0, token_ids_1]
    return _joined(ends(tokenizer.table), [texts])[0]


def _joined(special: tuple[int, ...], rows: list[list[list[int]]]) -> list[list[int]]:
    bos, eos = special[:1], special[1:]
    return [
        [*bos, *texts[0], *eos, *eos, *texts[1], *eos] if len(texts) > 1 else [*bos, *texts[0], *eos] for texts in rows
    ]


def make_columns(tokenizer: Any, texts: list[list[list[int]]], asked: CallOptions) -> dict[str, Any]:
    """Return the columns of rows; each row is given as the ids of one or two texts."""
    if asked.return_overflowing_tokens and asked.truncation == "longest_first" and max(map(len, texts)) > 1:
        raise ValueError("for pairs, overflowing tokens need truncation='only_first' or 'only_second'")
    build = tokenizer.build_inputs_with_special_tokens
    if asked.add_special_tokens and getattr(build, "__func__", None) is not build_inputs_with_special_tokens:
        join: Any = partial(starmap, build)  # a subclass overrides it
    else:
        join = partial(_joined, ends(tokenizer.table) if asked.add_special_tokens else ())
    ids = [*join(texts)]
    cut_off: dict[int, list[int]] = {}
    excess, limit = [0] * len(ids), asked.max_length
    for place, row in enumerate(ids):
        excess[place] = 0 if limit is None else len(row) - limit
        if asked.truncation is not None and excess[place] > 0:
            texts[place], cut_off[place] = _cut(texts[place], len(row), asked, tokenizer.truncation_side)
            [ids[place]] = join([texts[place]])
    columns: dict[str, Any] = {}
    if asked.return_overflowing_tokens:
        columns["overflowing_tokens"] = [cut_off.get(place, []) for place in range(len(ids))]
        columns["num_truncated_tokens"] = excess
    columns["input_ids"] = ids
    for name in asked.columns:
        if asked.add_special_tokens and name in _MAKERS:
            columns[name] = [*starmap(getattr(tokenizer, _MAKERS[name]), texts)]
        else:
            columns[name] = [*map(mul, repeat([int(name == "attention_mask")]), map(len, ids))]
    asked.pad(tokenizer, columns)
    if asked.return_length:
        columns["length"] = [*map(len, ids)]
    return columns


def _cut(texts: list[list[int]], length: int, asked: CallOptions, side: Side) -> tuple[list[list[int]], list[int]]:
    """Return the ids kept from the texts of a row, and the ids cut off together with `stride` of the kept ones."""
    lengths, kept, cut_off = [*map(len, texts)], list(texts), list[int]()
    for place, count in enumerate(asked.kept(lengths, length - sum(lengths))):
        ids, excess = texts[place], lengths[place] - count
        if excess and side == "right":
            kept[place], cut_off = ids[:count], cut_off + ids[max(count - asked.stride, 0) :]
        elif excess:
            kept[place], cut_off = ids[excess:], cut_off + ids[: excess + asked.stride]
    return kept, cut_off


def first_row(columns: dict[str, Any]) -> dict[str, Any]:
    """Return the first row of columns; `length` remains a list, as in transformers."""
    return {name: column if name == "length" else column[0] for name, column in columns.items()}


def as_pairs(text: Any, text_pair: Any, *, words: bool, allow_surrogates: bool) -> tuple[list[Pair], bool]:
    """Return the texts of a call as pairs, and True for a batch; with `words`, each text is a list of words."""
    is_batch = isinstance(text, _LISTS) and (not words or (len(text) > 0 and isinstance(text[0], _LISTS)))
    if not is_batch:
        pairs = [(text, text_pair or None)]  # as in transformers, an empty second text counts only in a batch
    elif not text:
        raise ValueError("the batch of texts is empty; give at least one text")
    elif text_pair is None:
        pairs = [(one, None) if isinstance(one, str) or not _is_pair(one, words) else tuple(one) for one in text]
    elif not isinstance(text_pair, _LISTS):
        raise TypeError(f"text is a batch, so text_pair must be a batch, too, not {shown(text_pair)}")
    elif len(text_pair) != len(text):
        raise ValueError(f"text has {len(text)} texts, but text_pair has {len(text_pair)}")
    else:
        pairs = list(zip(text, text_pair, strict=True))
    for place, (first, second) in enumerate(pairs):
        if second is None and not words and isinstance(first, str) and first.isascii():
            continue  # the usual case, which needs no check
        where = f"text {place} of the batch" if is_batch else "the text"
        _check(first, where, words, allow_surrogates)
        if second is not None:
            _check(second, f"the second text of {where}", words, allow_surrogates)
    return pairs, is_batch


def _is_pair(item: Any, words: bool) -> bool:
    return isinstance(item, _LISTS) and len(item) == 2 and (not words or all(isinstance(one, _LISTS) for one in item))


def _check(text: Any, where: str, words: bool, allow_surrogates: bool) -> None:
    wanted = "a list of str (is_split_into_words=True)" if words else "a str"
    for word in text if words and isinstance(text, _LISTS) else [text]:
        if not isinstance(word, str) or (words and word is text):
            raise TypeError(f"{where} is {shown(word)}, not {wanted}")
        if not allow_surrogates and not word.isascii():
            check_surrogates(word)
