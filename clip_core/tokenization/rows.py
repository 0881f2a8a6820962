"""Rows of ids: the options of a call, truncation, padding and columns, and checks of the texts of a call."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import repeat, starmap
from math import inf
from operator import mul
from typing import TYPE_CHECKING, Any, Literal

from clip_core.configuration.arguments import check_integers
from clip_core.tokenization.decoding import as_list, special_places

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence, Sized

    from clip_core.processing.batch import TensorType

Side = Literal["left", "right"]

# The values of each option -> their meaning.
_PADDING = {True: "longest", "longest": "longest", "max_length": "max_length", False: None, "do_not_pad": None}
_TRUNCATION = {True: "longest_first", False: None, None: None, "do_not_truncate": None}
_TRUNCATION |= {name: name for name in ("longest_first", "only_first", "only_second")}
_VALUES: dict[str, Any] = {"padding": tuple(_PADDING), "truncation": tuple(_TRUNCATION), "clean": ("hf", "openai")}
_VALUES |= dict.fromkeys(("padding_side", "truncation_side"), ("right", "left"))

_UNSET, _PLAIN = (None, 0, None), {int, type(None)}  # the usual lengths of a call, and their usual types


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
    # No keywords, but set once they are known: the names of the columns beside the ids, and False for a single text.
    columns = tuple[str, ...]()
    is_batch = True

    @classmethod
    def settled(cls, tokenizer: Any, method: str, given: dict[str, Any]) -> CallOptions:
        """Return the keywords of a method, with the tokenizer's settings; no padding and no truncation become None."""
        try:
            asked = cls(**given)
        except TypeError:
            unknown, has = min(given.keys() - cls.__dataclass_fields__), ", ".join(cls.__dataclass_fields__)
            raise TypeError(f"{type(tokenizer).__name__}.{method}() has no keyword {unknown!r}; it has {has}") from None
        lengths = asked.max_length, asked.stride, asked.pad_to_multiple_of
        if lengths != _UNSET and not ({*map(type, lengths)} <= _PLAIN and min(filter(None, lengths), default=0) >= 0):
            names = "max_length", "stride", "pad_to_multiple_of"
            check_integers(optional=True, most=inf, **dict(zip(names, zip(lengths, repeat(0)), strict=True)))
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
        names, types, mask = tokenizer.model_input_names, asked.return_token_type_ids, asked.return_attention_mask
        columns = {"token_type_ids": "token_type_ids" in names if types is None else types}
        columns |= {"attention_mask": "attention_mask" in names if mask is None else mask}
        columns |= {"special_tokens_mask": asked.return_special_tokens_mask}
        columns |= {"offset_mapping": asked.return_offsets_mapping, "length": asked.return_length}
        asked.columns = (*filter(columns.get, columns),)
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

    def kept(self, rows: Iterable[Sequence[Sized]], special: Mapping[int, int]) -> dict[int, list[int]]:
        """Return the number of tokens to keep from each text of the rows that are too long, by the index of the row.

        Args:
            rows: the one or two texts of each row; the length of a text is its number of tokens.
            special: the number of special tokens of a row, by its number of texts.
        """
        limit, found = self.max_length or 0, dict[int, list[int]]()
        for place, row in enumerate(rows):
            lengths, room = [*map(len, row)], limit - special[len(row)]
            excess = sum(lengths) - room
            if excess <= 0:
                continue
            if room < 0:
                raise ValueError(f"max_length={limit} leaves no room for the {limit - room} special tokens of a row")
            kept = found[place] = [0] * len(row)
            if room > 0 and self.truncation == "longest_first":
                # The longer text of a pair is truncated to the length of the shorter, then both to half.
                shorter = min(*lengths, room // 2) if len(row) > 1 else 0
                kept[:] = [shorter] * len(row)
                kept[-1 if lengths[-1] >= lengths[0] else 0] = room - shorter
            elif room > 0:
                kept[:], cut = lengths, int(self.truncation == "only_second")
                if cut == len(row):
                    raise ValueError("truncation='only_second' needs a pair of texts; use True or 'only_first'")
                kept[cut] -= excess
                if kept[cut] <= 0:
                    raise ValueError(
                        f"truncation={self.truncation!r} cannot reach max_length={limit}: of the text's {lengths[cut]} "
                        f"tokens, {excess} would have to go; use truncation='longest_first'"
                    )
            for left, length in zip(kept, lengths, strict=True):
                if 0 < left < length and left <= self.stride:
                    raise ValueError(
                        f"stride={self.stride} must be less than {left}, the number of text tokens in a row"
                    )
        return found


def build_inputs_with_special_tokens(tokenizer: Any, token_ids_0: list[int], token_ids_1: Any = None) -> list[int]:
    """Return the ids of a text between bos_token and eos_token, or of a pair as `bos A eos eos B eos`.

    Args:
        token_ids_0: the ids of a text.
        token_ids_1: the ids of the second text of a pair. CLIP has no pairs; the format is that of RoBERTa.

    Raises:
        ValueError: bos_token or eos_token is None.
    """
    texts = [token_ids_0] if token_ids_1 is None else [token_ids_0, token_ids_1]
    return join(tokenizer.table, [texts])[0]


def num_special_tokens_to_add(tokenizer: Any, pair: bool = False) -> int:
    """Return the number of special tokens around a text.

    Args:
        pair: True for a pair of texts.
    """
    if tokenizer.is_fast:
        return int(tokenizer.backend_tokenizer.num_special_tokens_to_add(pair))
    return len(tokenizer.build_inputs_with_special_tokens([], [] if pair else None))


def join(table: Any, rows: list[list[list[int]]]) -> list[list[int]]:
    """Return `build_inputs_with_special_tokens` for many rows; without a table, they get no special tokens."""
    bos, eos, joined = [], [], list[list[int]]()
    if table is not None:
        start, end = table.named["bos_token"], table.named["eos_token"]
        if start is None or end is None:
            hint = "set both, or pass add_special_tokens=False"
            raise ValueError(f"bos_token={start!r} and eos_token={end!r} cannot start and end a text; {hint}")
        bos, eos = [table.ids[start]], [table.ids[end]]
    for first, *second in rows:
        row = [*bos, *first, *eos]
        joined.append([*row, *eos, *second[0], *eos] if second else row)
    return joined


def create_token_type_ids_from_sequences(tokenizer: Any, token_ids_0: list[int], token_ids_1: Any = None) -> list[int]:
    """Return the token types, all 0. Takes the arguments of `build_inputs_with_special_tokens`."""
    return [0] * len(tokenizer.build_inputs_with_special_tokens(token_ids_0, token_ids_1))


def get_special_tokens_mask(
    tokenizer: Any, token_ids_0: Any, token_ids_1: Any = None, already_has_special_tokens: bool = False
) -> list[int]:
    """Return 1 where `build_inputs_with_special_tokens` puts a special token, and 0 elsewhere.

    With `already_has_special_tokens`, mark those in `token_ids_0`. Takes the arguments of
    `build_inputs_with_special_tokens`.

    Raises:
        ValueError: a second text is given although the ids have special tokens.
    """
    if not already_has_special_tokens:
        return _special_masks([[token_ids_0] if token_ids_1 is None else [token_ids_0, token_ids_1]])[0]
    if token_ids_1 is not None:
        raise ValueError("with already_has_special_tokens=True, token_ids_0 contains both texts; omit token_ids_1")
    return [*map(int, special_places(tokenizer.table, as_list(token_ids_0)))]


def _special_masks(rows: list[Any]) -> list[list[int]]:
    masks = list[list[int]]()
    for first, *second in rows:
        mask = [1, *[0] * len(first), 1]
        masks.append([*mask, 1, *[0] * len(second[0]), 1] if second else mask)
    return masks


# Columns -> the methods that make them. A subclass may override these.
_MAKERS = {"token_type_ids": create_token_type_ids_from_sequences, "special_tokens_mask": get_special_tokens_mask}


def make_columns(tokenizer: Any, texts: list[list[list[int]]], asked: CallOptions) -> dict[str, Any]:
    """Return the columns of rows; each row is given as the ids of one or two texts, which are truncated in place."""
    if asked.return_overflowing_tokens and asked.truncation == "longest_first" and max(map(len, texts)) > 1:
        raise ValueError("for pairs, overflowing tokens need truncation='only_first' or 'only_second'")
    build, limit = tokenizer.build_inputs_with_special_tokens, asked.max_length
    columns: dict[str, Any] = {}
    if asked.return_overflowing_tokens:
        columns = {"overflowing_tokens": [], "num_truncated_tokens": []}
    joined: Any = partial(join, tokenizer.table if asked.add_special_tokens else None)
    special = {1: 2, 2: 4} if asked.add_special_tokens else {1: 0, 2: 0}
    own = getattr(build, "__func__", None), getattr(tokenizer.num_special_tokens_to_add, "__func__", None)
    if asked.add_special_tokens and own != (build_inputs_with_special_tokens, num_special_tokens_to_add):
        joined = partial(starmap, build)
        special = {count: tokenizer.num_special_tokens_to_add(count > 1) for count in {*map(len, texts)}}
    kept = {} if asked.truncation is None else asked.kept(texts, special)
    for row in texts if columns else ():
        excess = 0 if limit is None else sum(map(len, row)) + special[len(row)] - limit
        columns["num_truncated_tokens"].append(excess)
    cut_off = _cut(texts, kept, asked.stride, tokenizer.truncation_side) if kept else {}
    if columns:
        columns["overflowing_tokens"] = [*map(list, map(cut_off.get, range(len(texts)), repeat(())))]
    columns["input_ids"] = ids = [*joined(texts)]
    for name in asked.columns:
        maker = _MAKERS.get(name) if asked.add_special_tokens else None
        method = maker and getattr(tokenizer, maker.__name__)
        if method is not None and getattr(method, "__func__", None) is not maker:
            columns[name] = [*starmap(method, texts)]
        elif maker is get_special_tokens_mask:
            columns[name] = _special_masks(texts)
        else:
            columns[name] = [*map(mul, repeat([int(name == "attention_mask")]), map(len, ids))]
    asked.pad(tokenizer, columns)
    if asked.return_length:
        columns["length"] = [*map(len, ids)]
    return columns


def _cut(rows: list[list[list[int]]], kept: dict[int, list[int]], stride: int, side: Side) -> dict[int, list[int]]:
    """Truncate texts in place. Return the ids cut off from each row, together with `stride` of the kept ones."""
    cut_off: dict[int, list[int]] = {}
    for place, counts in kept.items():
        cut_off[place], row = [], rows[place]
        for which, (ids, count) in enumerate(zip(row, counts, strict=True)):
            if len(ids) > count and side == "right":
                row[which] = ids[:count]
                cut_off[place] += ids[max(count - stride, 0) :]
            elif len(ids) > count:
                row[which] = ids[len(ids) - count :]
                cut_off[place] += ids[: len(ids) - count + stride]
    return cut_off
