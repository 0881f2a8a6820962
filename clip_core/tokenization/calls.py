"""Methods of a tokenizer, which each function takes first: other ways to call it, and rows made or padded from ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clip_core.processing.batch import framework_of, to_numpy
from clip_core.processing.encoding import BatchEncoding
from clip_core.tokenization.lengths import CallOptions
from clip_core.tokenization.rows import make_batch, make_row, padded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_core.processing.batch import TensorType
    from clip_core.tokenization.lengths import Side

_FILLING = {"attention_mask": 0, "token_type_ids": 0, "special_tokens_mask": 1}


def encode(tokenizer: Any, text: Any, text_pair: Any = None, *ordered: Any, **options: Any) -> Any:
    """Return the ids of one text, a list or an array (1, sequence); options as in `__call__`.

    By position, as in transformers, are taken `add_special_tokens`, `padding`, `truncation`, `max_length`, `stride`,
    `padding_side` and `return_tensors`.
    """
    return tokenizer.encode_plus(text, text_pair, **vars(CallOptions(*ordered, **options)))["input_ids"]


def encode_plus(tokenizer: Any, text: Any, text_pair: Any = None, **options: Any) -> BatchEncoding:
    """Call the tokenizer with one text; options as in `__call__`."""
    if not isinstance(text, str) and not options.get("is_split_into_words"):
        raise TypeError(f"one text is needed, not a {type(text).__name__}; call the tokenizer itself for a batch")
    encoding: BatchEncoding = tokenizer(text, text_pair, **options)
    return encoding


def batch_encode_plus(tokenizer: Any, batch_text_or_text_pairs: Any, **options: Any) -> BatchEncoding:
    """Call the tokenizer with a list of texts or of pairs of texts; options as in `__call__`."""
    if not isinstance(batch_text_or_text_pairs, (list, tuple)):
        raise TypeError(f"a list of texts is needed, not a {type(batch_text_or_text_pairs).__name__}")
    encoding: BatchEncoding = tokenizer(batch_text_or_text_pairs, **options)
    return encoding


def tokenize(
    tokenizer: Any, text: str, pair: str | None = None, add_special_tokens: bool = False, **options: Any
) -> list[str | None]:
    """Return the tokens of one text, which `convert_tokens_to_ids` turns into its ids; options as in `__call__`."""
    ids = tokenizer.encode(text, pair, add_special_tokens=add_special_tokens, **{"verbose": False, **options})
    tokens: list[str | None] = tokenizer.convert_ids_to_tokens(ids)
    return tokens


def prepare_for_model(
    tokenizer: Any,
    ids: Sequence[int],
    pair_ids: Sequence[int] | None = None,
    *,
    prepend_batch_axis: bool = False,
    **options: Any,
) -> BatchEncoding:
    """Return the row of ids that have no special tokens yet; options as in `__call__`.

    With `prepend_batch_axis`, the columns are (1, sequence).
    """
    asked = CallOptions(**options)
    cut, fill = asked.cut_and_fill(tokenizer)
    signs = (tokenizer.bos_token_id, tokenizer.eos_token_id) if asked.add_special_tokens else None
    row = make_row([list(ids)] if pair_ids is None else [list(ids), list(pair_ids)], signs, cut)
    return make_batch(
        tokenizer, [row], asked, fill, squeeze=not (prepend_batch_axis or asked.return_overflowing_tokens)
    )


def build_inputs_with_special_tokens(
    tokenizer: Any, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
) -> list[int]:
    """Return the ids of a text with bos_token and eos_token around, or of a pair as `bos A eos eos B eos`."""
    texts = [list(token_ids_0)] if token_ids_1 is None else [list(token_ids_0), list(token_ids_1)]
    return make_row(texts, (tokenizer.bos_token_id, tokenizer.eos_token_id), None).ids


def create_token_type_ids_from_sequences(
    tokenizer: Any, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
) -> list[int]:
    """Return a 0 for each id of `build_inputs_with_special_tokens`: CLIP does not tell a pair's texts apart."""
    return [0] * len(tokenizer.build_inputs_with_special_tokens(token_ids_0, token_ids_1))


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
    """Pad rows that were made before.

    Args:
        encoded_inputs: `input_ids` and other columns of one row or of a batch, as lists or arrays; or a list of such
            rows, as a data loader collates them. It stays as it is.
        padding: as in `__call__`, as are all that follow; `return_tensors` is by default the framework of `input_ids`.

    Raises:
        ValueError: there are no `input_ids`, or the columns differ in their number of rows.
    """
    options: dict[str, Any] = {
        "pad_to_multiple_of": pad_to_multiple_of,
        "padding_side": padding_side,
        "verbose": verbose,
    }
    _, fill = CallOptions(padding=padding, truncation=False, max_length=max_length, **options).cut_and_fill(tokenizer)
    columns = _as_columns(encoded_inputs)
    if "input_ids" not in columns:
        raise ValueError(f"rows to pad need input_ids; given were {', '.join(columns) or 'none'}")
    frameworks = {framework_of(columns["input_ids"]), *map(framework_of, columns["input_ids"][:1])} - {None}
    columns = {name: _as_lists(value) for name, value in columns.items()}
    is_batch = not columns["input_ids"] or isinstance(columns["input_ids"][0], list)
    if not is_batch:
        columns = {name: [value] for name, value in columns.items()}
    counts = {name: len(value) for name, value in columns.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"the columns differ in their number of rows: {counts}")
    lengths = [len(row) for row in columns["input_ids"]]
    if return_attention_mask is None:
        return_attention_mask = "attention_mask" in tokenizer.model_input_names
    if return_attention_mask and "attention_mask" not in columns:
        columns["attention_mask"] = [[1] * length for length in lengths]
    if fill is not None:
        target = fill.target(lengths)
        for name, value in {**_FILLING, "input_ids": tokenizer.pad_token_id}.items():
            if name in columns:
                columns[name] = [padded(row, target, value, fill.side) for row in columns[name]]
    data = columns if is_batch else {name: value[0] for name, value in columns.items()}
    return BatchEncoding(data, tensor_type=return_tensors or next(iter(frameworks), None))


def num_special_tokens_to_add(tokenizer: Any, pair: bool = False) -> int:  # noqa: ARG001  the same for every tokenizer
    """Return how many special tokens are put around a text, or around a pair."""
    return 4 if pair else 2


def _as_columns(encoded_inputs: Any) -> dict[str, Any]:
    if isinstance(encoded_inputs, Mapping):
        return dict(encoded_inputs)
    rows = list(encoded_inputs)
    if not rows or not all(isinstance(row, Mapping) for row in rows):
        raise ValueError("rows to pad are a dict of columns, or a list of dicts that is not empty")
    return {name: [row[name] for row in rows] for name in rows[0]}


def _as_lists(value: Any) -> Any:
    if framework_of(value):
        return to_numpy(value).tolist()
    return [_as_lists(item) for item in value] if isinstance(value, (list, tuple)) else value
