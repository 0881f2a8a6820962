"""How long the rows of ids are to be: where they are cut, and up to what length they are filled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

Side = Literal["left", "right"]
PaddingName = Literal["longest", "max_length", "do_not_pad"]
TruncationName = Literal["longest_first", "only_first", "only_second", "do_not_truncate"]

_PADDING = ("longest", "max_length", "do_not_pad")
_TRUNCATION = ("longest_first", "only_first", "only_second", "do_not_truncate")


def padding_name(padding: object) -> PaddingName:
    """The value of `padding`: True, False, a name, or transformers' enum of the names.

    Raises:
        ValueError: it is none of these.
    """
    name = ("longest" if padding else "do_not_pad") if isinstance(padding, bool) else _value(padding)
    if name not in _PADDING:
        raise ValueError(f"padding={padding!r} is not known; it is True, False, {', '.join(map(repr, _PADDING))}")
    return cast("PaddingName", name)


def truncation_name(truncation: object) -> TruncationName:
    """The value of `truncation`: True, False or None, a name, or transformers' enum of the names.

    Raises:
        ValueError: it is none of these.
    """
    if truncation is None or isinstance(truncation, bool):
        return "longest_first" if truncation else "do_not_truncate"
    if _value(truncation) not in _TRUNCATION:
        raise ValueError(
            f"truncation={truncation!r} is not known; it is True, False, {', '.join(map(repr, _TRUNCATION))}"
        )
    return cast("TruncationName", _value(truncation))


def check_side(side: object, name: str) -> Side:
    """`side`, if it is "left" or "right".

    Raises:
        ValueError: it is something else.
    """
    if side not in {"left", "right"}:
        raise ValueError(f"{name}={side!r} is not known; it is 'right' or 'left'")
    return side


@dataclass(frozen=True)
class Padding:
    """How rows are filled up.

    Attributes:
        length: the length to fill up to; None for that of the longest row.
        multiple_of: make that a multiple of this.
        side: where the padding goes.
    """

    length: int | None
    multiple_of: int | None
    side: Side

    def target(self, lengths: Sequence[int]) -> int:
        """The length that the rows get; longer ones stay as they are."""
        target = max(lengths, default=0) if self.length is None else self.length
        multiple = self.multiple_of or 1
        return -(-target // multiple) * multiple


@dataclass(frozen=True)
class Truncation:
    """Where rows are cut.

    Attributes:
        strategy: which text of a pair is cut.
        max_length: the greatest length of a row, special tokens included.
        stride: how many tokens of one row the next repeats, where what is cut off makes rows of its own.
        side: where the text is cut.
    """

    strategy: TruncationName
    max_length: int
    stride: int
    side: Side

    def kept(self, first: int, second: int | None, special: int) -> tuple[int, int | None]:
        """How many tokens of each text are kept.

        Args:
            first: the number of tokens of the text.
            second: that of the second of a pair; None for a single text.
            special: the number of special tokens that are put around them.

        Raises:
            ValueError: the special tokens alone are too many, the strategy cannot shorten the row enough, or `stride`
                leaves no way forward.
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
                raise ValueError(
                    f"stride={self.stride} must be less than the {length} tokens that a row has for its text"
                )
        return kept

    def windows(self, ids: list[int], length: int) -> list[list[int]]:
        """The ids kept, and then what was cut off in rows of the same length.

        Of a text of which nothing is kept, the second row is all of it, as in the `tokenizers` library.
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
    """What each text of a pair keeps: the longer one is cut to the shorter, then both to half."""
    shorter, longer = sorted((first, second))
    longer = max(shorter, room - shorter)
    if shorter + longer > room:
        shorter, longer = room // 2, room - room // 2
    return (longer, shorter) if first > second else (shorter, longer)


def _value(name: object) -> Any:
    return getattr(name, "value", name)
