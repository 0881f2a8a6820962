"""Cutting and padding of rows, as they are made and by `pad` afterwards."""

from __future__ import annotations

from enum import Enum

import numpy as np
import pytest

from clip_core.tokenization import CLIPTokenizer
from clip_core.tokenization.fast import CLIPTokenizerFast
from clip_core.tokenization.rows import CallOptions, check_values
from support.messages import naming
from support.vocabulary import BOS, EOS, write_vocabulary


@pytest.fixture(scope="module", params=[CLIPTokenizer, CLIPTokenizerFast])
def tokenizer(request, tmp_path_factory):
    return request.param(**write_vocabulary(tmp_path_factory.mktemp("vocabulary")))


# Truncation and padding of rows


class Strategy(Enum):
    """As transformers has them."""

    LONGEST = "longest"
    ONLY_FIRST = "only_first"


def cut(strategy="longest_first", max_length=10, stride=0):
    return CallOptions(truncation=strategy, max_length=max_length, stride=stride)


def kept_of(truncation, lengths):
    """Return what is kept of a row of texts of these lengths, with the special tokens of CLIP."""
    return truncation.kept([[range(length) for length in lengths]], {1: 2, 2: 4}).get(0, lengths)


def target(rows, **options):
    return CallOptions(**options).target(rows)


def test_options_are_names_or_enums_of_them():
    for given, value in (("longest", "longest"), (Strategy.LONGEST, "longest"), (True, True)):
        options = CallOptions(padding=given)
        check_values(options, "padding", "truncation")
        assert (options.padding, options.truncation) == (value, None)


@pytest.mark.parametrize("value", ["longst", None, 3])
def test_unknown_padding_is_refused(value, tokenizer):
    with pytest.raises(ValueError, match=naming(f"padding={value!r}", True, False, "'longest'", "'max_length'")):
        tokenizer("a", padding=value)


def test_unknown_truncation_and_side_are_refused(tokenizer):
    with pytest.raises(ValueError, match=naming("truncation='yes'", "'only_first'")):
        tokenizer("a", truncation="yes")
    with pytest.raises(ValueError, match=naming("padding_side='up'", "'right'", "'left'")):
        tokenizer("a", padding=True, padding_side="up")


def test_an_enum_of_names_is_taken_as_transformers_has_it(tokenizer):
    call = {"max_length": 3, "padding": Strategy.LONGEST}
    assert tokenizer("the cat", truncation=Strategy.ONLY_FIRST, **call) == tokenizer("the cat", truncation=True, **call)


def test_rows_are_filled_up_to_the_longest_or_to_a_length():
    assert target(["abc", "abcde"], padding="longest") == 5
    assert target(["abc", "abcde"], padding="longest", pad_to_multiple_of=4) == 8
    assert target(["abcdefghi"], padding="max_length", max_length=7) == 7
    assert target([], padding="max_length", max_length=77, pad_to_multiple_of=8) == 80


@pytest.mark.parametrize(
    ("strategy", "lengths", "kept"),
    [
        ("longest_first", [3], [3]),
        ("longest_first", [20], [8]),
        ("longest_first", [2, 20], [2, 4]),
        ("longest_first", [20, 2], [4, 2]),
        ("longest_first", [20, 30], [3, 3]),
        ("longest_first", [3, 3], [3, 3]),
        ("only_first", [20, 3], [3, 3]),
        ("only_second", [3, 20], [3, 3]),
    ],
)
def test_what_each_strategy_keeps(strategy, lengths, kept):
    assert kept_of(cut(strategy), lengths) == kept


def test_odd_room_goes_to_the_longer_text():
    assert kept_of(cut(max_length=11), [20, 30]) == [3, 4]
    assert kept_of(cut(max_length=11), [30, 20]) == [4, 3]


def test_no_room_keeps_nothing():
    assert kept_of(cut(max_length=4), [5, 5]) == [0, 0]
    assert kept_of(cut("only_first", max_length=2), [5]) == [0]


def test_only_rows_that_are_too_long_are_cut():
    rows = [[range(8)], [range(9)], [range(3), range(3)], [range(30), range(2)]]
    assert cut().kept(rows, {1: 2, 2: 4}) == {1: [8], 3: [4, 2]}


@pytest.mark.parametrize(
    ("truncation", "lengths", "named"),
    [
        (cut(max_length=3), [0, 0], ("max_length=3", 4)),
        (cut("only_first"), [2, 20], ("'only_first'", "max_length=10", 2, 16)),
        (cut("only_second"), [20, 2], ("'only_second'", "max_length=10", 2, 16)),
        (cut("only_second"), [20], ("'only_second'", "'only_first'")),
        (cut(stride=3), [20, 20], ("stride=3", 3)),
    ],
)
def test_what_cannot_be_done_is_said(truncation, lengths, named):
    with pytest.raises(ValueError, match=naming(*named)):
        kept_of(truncation, lengths)


# Rows that were made before

ROWS = [[BOS, 1, EOS], [BOS, 1, 2, 3, EOS]]
PADDED = [[BOS, 1, EOS, EOS, EOS], [BOS, 1, 2, 3, EOS]]
MASKS = [[1, 1, 1, 0, 0], [1] * 5]


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
    ("batch", "named"),
    [
        ({"pixel_values": [1]}, ("input_ids", "pixel_values")),
        ([], ("list", "dicts", "empty")),
        ([[1, 2]], ("list", "dicts")),
        ({"input_ids": ROWS, "labels": [1]}, ("rows", {"input_ids": 2, "labels": 1})),
    ],
)
def test_what_cannot_be_filled_up_is_said(tokenizer, batch, named):
    with pytest.raises(ValueError, match=naming(*named)):
        tokenizer.pad(batch)


def test_the_ids_have_the_name_that_the_model_gives_them(tokenizer):
    tokenizer.model_input_names = ["inputs", "attention_mask"]
    try:
        padded = tokenizer.pad({"inputs": ROWS})
        assert dict(padded) == {"inputs": PADDED, "attention_mask": MASKS}
        with pytest.raises(ValueError, match=naming("inputs", "input_ids")):
            tokenizer.pad({"input_ids": ROWS})
    finally:
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
