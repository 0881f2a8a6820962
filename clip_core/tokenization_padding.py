"""Filling up rows of ids that were made before, as a data loader's collate function has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clip_core.batch import framework_of, to_numpy
from clip_core.batch_encoding import BatchEncoding

if TYPE_CHECKING:
    from clip_core.batch import TensorType
    from clip_core.tokenization_lengths import Padding


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
