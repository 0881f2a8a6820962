"""Other ways to call a tokenizer, and rows from ids. Each function is a method of `CLIPTokenizerBase`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clip_core.configuration.arguments import shows_fields
from clip_core.processing.batch import read_columns
from clip_core.processing.encoding import BatchEncoding, first_row
from clip_core.tokenization.rows import CallOptions, make_columns

if TYPE_CHECKING:
    from clip_core.processing.batch import TensorType
    from clip_core.tokenization.rows import Side

# The keywords in the order in which transformers' methods take them by position.
_ORDER = (*CallOptions.__dataclass_fields__,)
_OF_ENCODE = (*_ORDER[:5], "padding_side", "return_tensors")
_OF_IDS = (*(name for name in _ORDER[:-1] if name != "is_split_into_words"), "prepend_batch_axis")


@shows_fields(CallOptions, _OF_ENCODE)
def encode(tokenizer: Any, text: Any, text_pair: Any = None, **options: Any) -> Any:
    """Return the ids of one text, as a list or an array. Takes the arguments of `CLIPTokenizerBase.__call__`."""
    return tokenizer.encode_plus(text, text_pair, **options)["input_ids"]


@shows_fields(CallOptions, _ORDER)
def encode_plus(tokenizer: Any, text: Any, text_pair: Any = None, **options: Any) -> Any:
    """Call the tokenizer with one text. Takes the arguments of `CLIPTokenizerBase.__call__` and returns the same.

    Raises:
        TypeError: `text` is a batch.
    """
    if not isinstance(text, str) and not options.get("is_split_into_words"):
        raise TypeError(f"expected one text, not a {type(text).__name__}; for a batch, call the tokenizer itself")
    return tokenizer._encode(text, text_pair, **options)  # noqa: SLF001  of the class that this is a method of


@shows_fields(CallOptions, _ORDER)
def batch_encode_plus(tokenizer: Any, batch_text_or_text_pairs: Any, **options: Any) -> Any:
    """Call the tokenizer with a batch. Takes the arguments of `CLIPTokenizerBase.__call__` and returns the same.

    Raises:
        TypeError: the argument is not a list of texts or of pairs of texts.
    """
    if not isinstance(batch_text_or_text_pairs, (list, tuple)):
        raise TypeError(f"expected a list of texts, not a {type(batch_text_or_text_pairs).__name__}")
    return tokenizer._encode(batch_text_or_text_pairs, **options)  # noqa: SLF001  as above


@shows_fields(CallOptions)
def tokenize(tokenizer: Any, text: str, pair: Any = None, add_special_tokens: bool = False, **options: Any) -> Any:
    """Return the tokens of a text, without special tokens. Takes the arguments of `CLIPTokenizerBase.__call__`."""
    options = {"add_special_tokens": add_special_tokens, "verbose": False, **options}
    ids = tokenizer._encode(text, pair, **options)["input_ids"]  # noqa: SLF001  as above
    return tokenizer.convert_ids_to_tokens(ids)


@shows_fields(CallOptions, _OF_IDS)
def prepare_for_model(
    tokenizer: Any, ids: Any, pair_ids: Any = None, *, prepend_batch_axis: bool = False, **options: Any
) -> BatchEncoding:
    """Return the row for ids that have no special tokens yet.

    Args:
        ids: the ids of a text.
        pair_ids: the ids of the second text of a pair.
        prepend_batch_axis: make arrays two-dimensional, `(1, sequence)`.
        **options: as in `CLIPTokenizerBase.__call__`.
    """
    asked = CallOptions.settled(tokenizer, "prepare_for_model", options)
    (padding, asked.padding), columns = (asked.padding, None), asked.columns
    asked.columns = (*filter("attention_mask".__ne__, columns),)  # `pad` adds it
    row = first_row(make_columns(tokenizer, [[list(part) for part in (ids, pair_ids) if part is not None]], asked))
    if padding is not None or "attention_mask" in columns:
        multiple, side = asked.pad_to_multiple_of, asked.padding_side
        row = tokenizer.pad(row, padding or "do_not_pad", asked.max_length, multiple, side, asked.return_attention_mask)
    if asked.return_length:
        row["length"] = len(row["input_ids"])
    return BatchEncoding(row, None, asked.return_tensors, prepend_batch_axis)


def pad(
    tokenizer: Any,
    encoded_inputs: Any,
    padding: Any = True,
    max_length: int | None = None,
    pad_to_multiple_of: int | None = None,
    padding_side: Side | None = None,
    return_attention_mask: bool | None = None,
    return_tensors: TensorType | None = None,
    verbose: bool = True,
) -> BatchEncoding:
    """Return existing rows with padding; the given rows are not changed.

    Takes the arguments of `CLIPTokenizerBase.__call__`, except that `return_tensors` is by default the framework of the
    ids, and `encoded_inputs`: the columns of one row or of a batch, as lists or arrays, or a list of such rows, as in a
    data loader's collate function. The ids are in the first column named in `model_input_names`.

    Raises:
        ValueError: there are no ids, or the columns differ in their number of rows.
    """
    options = {"padding": padding, "truncation": False, "max_length": max_length, "verbose": verbose}
    options |= {"pad_to_multiple_of": pad_to_multiple_of, "padding_side": padding_side}
    asked = CallOptions.settled(tokenizer, "pad", options | {"return_attention_mask": return_attention_mask})
    ids = tokenizer.model_input_names[0]
    columns, is_batch, tensor_type = read_columns(encoded_inputs, ids)
    if "attention_mask" in asked.columns:
        columns.setdefault("attention_mask", [[1] * len(row) for row in columns[ids]])
    asked.pad(tokenizer, columns, ids)
    data = columns if is_batch else {name: column[0] for name, column in columns.items()}
    return BatchEncoding(data, tensor_type=return_tensors or tensor_type)
