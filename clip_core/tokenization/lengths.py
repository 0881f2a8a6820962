"""The keywords of a call, and what follows from them: where rows of ids are cut, and to what length they are padded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_core.processing.batch import TensorType

Side = Literal["left", "right"]

_PADDING = ("longest", "max_length", "do_not_pad")
_TRUNCATION = ("longest_first", "only_first", "only_second", "do_not_truncate")

# The number transformers uses for "no maximum length", and the least number that is taken for it.
NO_MAX_LENGTH = int(1e30)
_NO_MAX_LENGTH_FROM = int(1e20)


def padding_name(padding: Any) -> str:
    """Return the name for `padding`: True, False, a name, or transformers' enum of the names."""
    if isinstance(padding, bool):
        return "longest" if padding else "do_not_pad"
    return _checked_name("padding", padding, _PADDING)


def truncation_name(truncation: Any) -> str:
    """Return the name for `truncation`: True, False or None, a name, or transformers' enum of the names."""
    if truncation is None or isinstance(truncation, bool):
        return "longest_first" if truncation else "do_not_truncate"
    return _checked_name("truncation", truncation, _TRUNCATION)


def _checked_name(argument: str, value: Any, names: tuple[str, ...]) -> str:
    name: str = getattr(value, "value", value)
    if name not in names:
        raise ValueError(f"{argument}={value!r} is not known; it is True, False, {', '.join(map(repr, names))}")
    return name


def check_side(side: object, name: str) -> Side:
    """Return `side` if it is "left" or "right"; if not, raise a ValueError that calls it `name`."""
    if side not in {"left", "right"}:
        raise ValueError(f"{name}={side!r} is not known; it is 'right' or 'left'")
    return side


@dataclass
class CallOptions:
    """Keywords of a call and their defaults, the first in the order of `encode`; see `CLIPTokenizerBase.__call__`."""

    add_special_tokens: bool = True
    padding: Any = False
    truncation: Any = None
    max_length: int | None = None
    stride: int = 0
    padding_side: Side | None = None
    return_tensors: TensorType | None = None
    is_split_into_words: bool = False
    pad_to_multiple_of: int | None = None
    return_token_type_ids: bool | None = None
    return_attention_mask: bool | None = None
    return_overflowing_tokens: bool = False
    return_special_tokens_mask: bool = False
    return_offsets_mapping: bool = False
    return_length: bool = False
    verbose: bool = True
    split_special_tokens: bool | None = None

    def cut_and_fill(self, tokenizer: Any) -> tuple[Truncation | None, Padding | None]:
        """Return where rows are cut and how they are padded; None for not at all."""
        fill, cut = padding_name(self.padding), truncation_name(self.truncation)
        length = self.max_length
        if length is not None and self.padding is False and self.truncation is None:
            message = "max_length is given, so texts are cut at it; pass truncation=True to say so"
            tokenizer.warn_once(message, self.verbose)
            cut = "longest_first"
        if length is None and tokenizer.model_max_length > _NO_MAX_LENGTH_FROM:
            if fill == "max_length" or cut != "do_not_truncate":
                message = "no max_length is given and the model states none: rows are neither cut nor padded to it"
                tokenizer.warn_once(message, self.verbose)
            fill = "do_not_pad" if fill == "max_length" else fill
            cut = "do_not_truncate"
        length = tokenizer.model_max_length if length is None else length
        multiple = self.pad_to_multiple_of
        if fill != "do_not_pad" and "pad_token" not in tokenizer.table.named:
            raise ValueError("padding needs a pad_token; set tokenizer.pad_token = tokenizer.eos_token, for one")
        if fill != "do_not_pad" and cut != "do_not_truncate" and multiple and length % multiple:
            raise ValueError(f"max_length={length} is not a multiple of pad_to_multiple_of={multiple}")
        side = tokenizer.padding_side if self.padding_side is None else check_side(self.padding_side, "padding_side")
        stride = self.stride if self.return_overflowing_tokens else 0
        return (
            None if cut == "do_not_truncate" else Truncation(cut, length, stride, tokenizer.truncation_side),
            None if fill == "do_not_pad" else Padding(length if fill == "max_length" else None, multiple, side),
        )


@dataclass(frozen=True)
class Padding:
    """The length that rows are padded to."""

    length: int | None  # None for that of the longest row
    multiple_of: int | None
    side: Side

    def target(self, lengths: Sequence[int]) -> int:
        """Return the length that rows of these lengths get; longer ones stay as they are."""
        target, multiple = max(lengths, default=0) if self.length is None else self.length, self.multiple_of or 1
        return -(-target // multiple) * multiple


@dataclass(frozen=True)
class Truncation:
    """The place where rows are cut."""

    strategy: str  # which text of a pair is cut
    max_length: int  # of a row, special tokens included
    stride: int  # how many tokens of one row the next repeats, if what is cut off makes rows of its own
    side: Side  # where the text is cut

    def kept(self, first: int, second: int | None, special: int) -> tuple[int, int | None]:
        """Return how many tokens are kept of a text and of the second of a pair (None without it).

        Raises:
            ValueError: the `special` tokens are too many, the strategy cannot cut enough, or `stride` is too long.
        """
        room = self.max_length - special
        if room < 0:
            raise ValueError(f"max_length={self.max_length} is less than the {special} special tokens of a row")
        excess = first + (second or 0) - room
        if excess <= 0:
            return first, second
        if room == 0:
            return 0, None if second is None else 0
        if self.strategy == "only_second" and second is not None:
            kept: tuple[int, int | None] = first, self._shortened(second, excess, "second")
        elif self.strategy == "only_second":
            raise ValueError("truncation='only_second' needs a pair of texts; use True or 'only_first'")
        elif self.strategy == "only_first":
            kept = self._shortened(first, excess, "first"), second
        else:
            kept = (room, None) if second is None else _shares(first, second, room)
        for length, before in zip(kept, (first, second), strict=True):
            if length and length != before and self.stride >= length:
                raise ValueError(f"stride={self.stride} must be less than the {length} tokens a row has for its text")
        return kept

    def windows(self, ids: list[int], length: int) -> list[list[int]]:
        """Return the ids that are kept, and then those cut off, in rows of the same length.

        If nothing is kept, the second row is the whole text, as in the `tokenizers` library.
        """
        if length >= len(ids):
            return [ids]
        if length == 0:
            return [[], ids]
        step = length - self.stride
        if self.side == "right":
            starts = range(0, len(ids) - length + step, step)
            return [ids[start : start + length] for start in starts]
        ends = range(len(ids), length - step, -step)
        return [ids[max(0, end - length) : end] for end in ends]

    def _shortened(self, length: int, excess: int, which: str) -> int:
        if length <= excess:
            raise ValueError(
                f"truncation={self.strategy!r} cannot reach max_length={self.max_length}: of the {length} tokens of "
                f"the {which} text, {excess} are too many; use truncation='longest_first'"
            )
        return length - excess


def _shares(first: int, second: int, room: int) -> tuple[int, int]:
    """Return what each text of a pair keeps: the longer one is cut to the shorter, then both to half."""
    shorter, longer = sorted((first, second))
    longer = max(shorter, room - shorter)
    if shorter + longer > room:
        shorter, longer = room // 2, room - room // 2
    return (longer, shorter) if first > second else (shorter, longer)
