"""From the ids of texts to what a model takes: special tokens around, cut, filled up, joined into a batch."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from clip_core.tokenization.decoding import Decoding
from clip_core.tokenization.encoding import BatchEncoding
from clip_core.tokenization.lengths import Padding, Truncation, check_side, padding_name, truncation_name
from clip_core.tokenization.rows import Columns, make_row, pad_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_core.processing.batch import TensorType
    from clip_core.tokenization.lengths import Side

logger = logging.getLogger(__name__)

# transformers' sign for "no greatest length", and what counts as one.
NO_MAX_LENGTH = int(1e30)
_NO_MAX_LENGTH_FROM = int(1e20)


class IdsToBatch(Decoding):
    """The methods that take ids."""

    model_max_length: int
    padding_side: Side
    truncation_side: Side
    model_input_names: list[str]
    _logged: set[str]

    def prepare_for_model(
        self,
        ids: Sequence[int],
        pair_ids: Sequence[int] | None = None,
        *,
        add_special_tokens: bool = True,
        padding: Any = False,
        truncation: Any = None,
        max_length: int | None = None,
        stride: int = 0,
        pad_to_multiple_of: int | None = None,
        padding_side: Side | None = None,
        return_tensors: TensorType | None = None,
        prepend_batch_axis: bool = False,
        verbose: bool = True,
        **returned: bool | None,
    ) -> BatchEncoding:
        """A row made of the ids of a text, which have no special tokens yet; arguments as in `__call__`.

        Args:
            ids: the ids of the text.
            pair_ids: those of the second text of a pair.
            add_special_tokens: put bos_token and eos_token around.
            padding: as in `__call__`, as are all others but the last two.
            truncation: where to cut.
            max_length: the length to cut at and to fill up to.
            stride: how many tokens each row repeats.
            pad_to_multiple_of: fill up to a multiple of this.
            padding_side: "right" or "left".
            return_tensors: "np", "pt", "tf" or "jax".
            prepend_batch_axis: make the columns (1, sequence).
            verbose: warn in the log.
            **returned: `return_attention_mask` and its like.
        """
        columns = self._columns(**returned)
        stride = stride if columns.overflowing_tokens else 0
        cut, fill = self._lengths(padding, truncation, max_length, stride, pad_to_multiple_of, padding_side, verbose)
        second = None if pair_ids is None else list(pair_ids)
        row = make_row(list(ids), second, signs=self._signs() if add_special_tokens else None, truncation=cut)
        batch = self._batch([row], columns, fill, squeeze=not (prepend_batch_axis or columns.overflowing_tokens))
        return batch.convert_to_tensors(return_tensors)

    def pad(
        self,
        encoded_inputs: Any,
        padding: Any = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: Side | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: TensorType | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Fill up rows that were made before.

        Args:
            encoded_inputs: `input_ids` and other columns of one row or of a batch, as lists or arrays; or a list of
                such rows, as a data loader collates them. It stays as it is.
            padding: as in `__call__`, as are all that follow.
            max_length: the length to fill up to.
            pad_to_multiple_of: fill up to a multiple of this.
            padding_side: "right" or "left".
            return_attention_mask: add `attention_mask`.
            return_tensors: "np", "pt", "tf" or "jax"; by default the framework of `input_ids`.
            verbose: warn in the log.

        Raises:
            ValueError: there are no `input_ids`, or the columns differ in their number of rows.
        """
        _, fill = self._lengths(padding, False, max_length, 0, pad_to_multiple_of, padding_side, verbose)
        wanted = "attention_mask" in self.model_input_names if return_attention_mask is None else return_attention_mask
        return pad_columns(encoded_inputs, fill, self.pad_token_id, with_mask=wanted, tensor_type=return_tensors)

    # Special tokens around texts

    def build_inputs_with_special_tokens(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """The ids of a text with bos_token and eos_token around; of a pair as `bos A eos eos B eos`."""
        second = None if token_ids_1 is None else list(token_ids_1)
        return make_row(list(token_ids_0), second, signs=self._signs(), truncation=None).ids

    def create_token_type_ids_from_sequences(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """A 0 for each id of `build_inputs_with_special_tokens`: CLIP does not tell the two texts of a pair apart."""
        return [0] * len(self.build_inputs_with_special_tokens(token_ids_0, token_ids_1))

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens are put around a text, or around a pair."""
        return 4 if pair else 2

    def _signs(self) -> tuple[int, int]:
        return self.bos_token_id, self.eos_token_id

    # Steps

    def _columns(
        self,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool | None = False,
        return_special_tokens_mask: bool | None = False,
        return_offsets_mapping: bool | None = False,
        return_length: bool | None = False,
    ) -> Columns:
        names = self.model_input_names
        return Columns(
            token_type_ids="token_type_ids" in names if return_token_type_ids is None else return_token_type_ids,
            attention_mask="attention_mask" in names if return_attention_mask is None else return_attention_mask,
            special_tokens_mask=bool(return_special_tokens_mask),
            offset_mapping=bool(return_offsets_mapping),
            length=bool(return_length),
            overflowing_tokens=bool(return_overflowing_tokens),
        )

    def _lengths(
        self,
        padding: Any,
        truncation: Any,
        max_length: int | None,
        stride: int,
        multiple_of: int | None,
        padding_side: Side | None,
        verbose: bool,
    ) -> tuple[Truncation | None, Padding | None]:
        fill, cut = padding_name(padding), truncation_name(truncation)
        if max_length is not None and padding is False and truncation is None:
            self._log_once("max_length is given, so texts are cut at it; pass truncation=True to say so", verbose)
            cut = "longest_first"
        if max_length is None and self.model_max_length > _NO_MAX_LENGTH_FROM:
            if fill == "max_length" or cut != "do_not_truncate":
                self._log_once(
                    "no max_length is given and the model states none: nothing is cut or filled up to it", verbose
                )
            fill = "do_not_pad" if fill == "max_length" else fill
            cut = "do_not_truncate"
        length = self.model_max_length if max_length is None else max_length
        if fill != "do_not_pad":
            if self.pad_token is None:
                raise ValueError("padding needs a pad_token; set tokenizer.pad_token = tokenizer.eos_token, for one")
            if cut != "do_not_truncate" and multiple_of and length % multiple_of:
                raise ValueError(f"max_length={length} is not a multiple of pad_to_multiple_of={multiple_of}")
        side = self.padding_side if padding_side is None else check_side(padding_side, "padding_side")
        return (
            None if cut == "do_not_truncate" else Truncation(cut, length, stride, self.truncation_side),
            None if fill == "do_not_pad" else Padding(length if fill == "max_length" else None, multiple_of, side),
        )

    def _batch(
        self, encodings: Sequence[Any], columns: Columns, fill: Padding | None, *, squeeze: bool
    ) -> BatchEncoding:
        rows, samples = [], []
        for sample, encoding in enumerate(encodings):
            parts = [encoding, *encoding.overflowing] if columns.overflowing_tokens else [encoding]
            rows += parts
            samples += [sample] * len(parts)
        if fill is not None:
            length = fill.target([len(row) for row in rows])
            for row in rows:
                row.pad(length, direction=fill.side, pad_id=self.pad_token_id, pad_token=self.pad_token)
        data = columns.of(rows, samples)
        if squeeze:
            data = {name: value[0] if isinstance(value[0], list) else value for name, value in data.items()}
        return BatchEncoding(data, rows if hasattr(rows[0], "offsets") else None)

    def _log_once(self, message: str, verbose: bool, *numbers: int) -> None:
        if verbose and message not in self._logged:
            self._logged.add(message)
            logger.warning(message, *numbers)
