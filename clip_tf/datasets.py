"""Hugging Face datasets as `tf.data.Dataset`s for `fit`, as transformers' `prepare_tf_dataset` returns them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_tf.inputs import call_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Columns that `fit` takes as labels.
_LABELS = ("labels", "label", "label_ids")


def to_tf_dataset(
    model: Any, dataset: Any, *, tokenizer: Any, collate_fn: Callable[..., Any] | None, shuffle: bool, **options: Any
) -> Any:
    """Return batches of the columns that the model's call takes, and of labels.

    Args:
        model: the model.
        dataset: a `datasets.Dataset`.
        tokenizer: pads the texts of a batch; None if all have the same length.
        collate_fn: makes a batch, a dict of arrays, from a list of examples; None stacks or pads the examples.
        shuffle: shuffle the examples.
        **options: further keywords of `datasets.Dataset.to_tf_dataset`. If `drop_remainder` is None, it follows
            `shuffle`.

    Raises:
        TypeError: the dataset is of another kind.
        ValueError: it has no column that the model takes.
    """
    if not hasattr(dataset, "to_tf_dataset"):
        raise TypeError(f"prepare_tf_dataset takes a datasets.Dataset, not a {type(dataset).__name__}")
    taken = call_signature(type(model)).parameters
    columns = [name for name in dataset.column_names if name in taken and name not in _LABELS]
    if not columns:
        raise ValueError(f"the dataset has the columns {dataset.column_names}; the model takes {', '.join(taken)}")
    labels = [name for name in dataset.column_names if name in _LABELS]
    if options.get("drop_remainder") is None:
        options["drop_remainder"] = shuffle
    return dataset.select_columns([*columns, *labels]).to_tf_dataset(
        columns=_single(columns),
        label_cols=_single(labels) if labels else None,
        shuffle=shuffle,
        collate_fn=collate_fn or partial(_collate, tokenizer=tokenizer),
        **options,
    )


def _single(names: list[str]) -> str | list[str]:
    return names[0] if len(names) == 1 else names


def _collate(examples: Sequence[dict[str, Any]], *, tokenizer: Any) -> dict[str, np.ndarray]:
    batch = {name: [example[name] for example in examples] for name in examples[0]}
    texts = {
        name: batch.pop(name) for name in ("input_ids", "attention_mask") if tokenizer is not None and name in batch
    }
    padded = dict(tokenizer.pad(texts, return_tensors="np")) if texts else {}
    return {**padded, **{name: np.asarray(values) for name, values in batch.items()}}
