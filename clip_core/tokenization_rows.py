"""From the ids of texts to rows: cut, with special tokens, filled up, and joined into columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_core.tokenization_lengths import Side, Truncation


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
