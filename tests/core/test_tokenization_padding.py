"""`pad` fills up rows that were made before, in any form that a data loader has them."""

from __future__ import annotations

import numpy as np
import pytest

from clip_core.tokenization import CLIPTokenizer
from clip_core.tokenization_fast import CLIPTokenizerFast
from support.vocabulary import BOS, EOS, write_vocabulary

ROWS = [[BOS, 1, EOS], [BOS, 1, 2, 3, EOS]]
PADDED = [[BOS, 1, EOS, EOS, EOS], [BOS, 1, 2, 3, EOS]]
MASKS = [[1, 1, 1, 0, 0], [1] * 5]


@pytest.fixture(scope="module", params=[CLIPTokenizer, CLIPTokenizerFast])
def tokenizer(request, tmp_path_factory):
    return request.param(**write_vocabulary(tmp_path_factory.mktemp("vocabulary")))


def test_columns_and_lists_of_rows(tokenizer):
    for batch in (
        {"input_ids": ROWS},
        [{"input_ids": row} for row in ROWS],
        [{"input_ids": np.array(row)} for row in ROWS],
    ):
        padded = tokenizer.pad(batch)
        assert [list(row) for row in padded["input_ids"]] == PADDED
        assert [list(row) for row in padded["attention_mask"]] == MASKS


def test_the_result_of_a_call_stays_as_it_is(tokenizer):
    batch = tokenizer(["the cat", "a"])
    before = [list(row) for row in batch["input_ids"]]
    padded = tokenizer.pad(batch, padding="max_length", max_length=8, padding_side="left", return_tensors="np")
    assert batch["input_ids"] == before
    expected = tokenizer(["the cat", "a"], padding="max_length", max_length=8, padding_side="left", return_tensors="np")
    for name, value in expected.items():
        np.testing.assert_array_equal(padded[name], value)


def test_other_columns(tokenizer):
    masks = [[0] * len(row) for row in ROWS]
    padded = tokenizer.pad({"input_ids": ROWS, "special_tokens_mask": masks, "token_type_ids": masks, "labels": [7, 8]})
    assert padded["special_tokens_mask"][0] == [0, 0, 0, 1, 1]
    assert padded["token_type_ids"][0] == [0] * 5
    assert padded["labels"] == [7, 8]


def test_one_row(tokenizer):
    padded = tokenizer.pad({"input_ids": ROWS[0]}, pad_to_multiple_of=4)
    assert padded["input_ids"] == [*ROWS[0], EOS]
    assert padded["attention_mask"] == [1, 1, 1, 0]
    assert dict(tokenizer.pad({"input_ids": ROWS[0]}, padding=False, return_attention_mask=False)) == {
        "input_ids": ROWS[0]
    }


def test_the_framework_of_the_rows_is_kept(tokenizer):
    import torch

    rows = [{"input_ids": torch.tensor(row)} for row in ROWS]
    assert isinstance(tokenizer.pad(rows)["input_ids"], torch.Tensor)
    assert tokenizer.pad({"input_ids": np.array(PADDED)})["attention_mask"].dtype == np.int64


def test_no_rows(tokenizer):
    assert dict(tokenizer.pad({"input_ids": []})) == {"input_ids": [], "attention_mask": []}


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"pixel_values": [1]}, "need input_ids; given were pixel_values"),
        ([], "a list of dicts that is not empty"),
        ([[1, 2]], "a list of dicts that is not empty"),
        ({"input_ids": ROWS, "labels": [1]}, r"differ in their number of rows: \{'input_ids': 2, 'labels': 1\}"),
    ],
)
def test_what_cannot_be_filled_up_is_said(tokenizer, batch, message):
    with pytest.raises(ValueError, match=message):
        tokenizer.pad(batch)
