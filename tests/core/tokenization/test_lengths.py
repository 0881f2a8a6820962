"""Where rows are cut and how far they are filled up."""

# ruff: noqa: S106  the tokens are those of a vocabulary

from __future__ import annotations

from enum import Enum

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from clip_core.tokenization.lengths import Padding, Truncation, check_side, padding_name, truncation_name
from support.messages import naming


class Strategy(Enum):
    """As transformers has them."""

    LONGEST = "longest"
    ONLY_FIRST = "only_first"


def cut(strategy="longest_first", max_length=10, stride=0, side="right"):
    return Truncation(strategy, max_length, stride, side)


def test_names():
    assert [padding_name(value) for value in (True, False, "max_length", Strategy.LONGEST)] == [
        "longest",
        "do_not_pad",
        "max_length",
        "longest",
    ]
    assert [truncation_name(value) for value in (True, False, None, "only_second", Strategy.ONLY_FIRST)] == [
        "longest_first",
        "do_not_truncate",
        "do_not_truncate",
        "only_second",
        "only_first",
    ]
    assert check_side("left", "padding_side") == "left"


@pytest.mark.parametrize("value", ["longst", None, 3])
def test_unknown_padding_is_refused(value):
    with pytest.raises(ValueError, match=naming(f"padding={value!r}", True, False, "'longest'", "'max_length'")):
        padding_name(value)


def test_unknown_truncation_and_side_are_refused():
    with pytest.raises(ValueError, match=naming("truncation='yes'", "'only_first'")):
        truncation_name("yes")
    with pytest.raises(ValueError, match=naming("padding_side='up'", "'right'", "'left'")):
        check_side("up", "padding_side")


def test_rows_are_filled_up_to_the_longest_or_to_a_length():
    assert Padding(None, None, "right").target([3, 5]) == 5
    assert Padding(None, 4, "right").target([3, 5]) == 8
    assert Padding(7, None, "right").target([9]) == 7
    assert Padding(77, 8, "right").target([]) == 80


@pytest.mark.parametrize(
    ("strategy", "lengths", "kept"),
    [
        ("longest_first", (3, None), (3, None)),
        ("longest_first", (20, None), (8, None)),
        ("longest_first", (2, 20), (2, 4)),
        ("longest_first", (20, 2), (4, 2)),
        ("longest_first", (20, 30), (3, 3)),
        ("longest_first", (3, 3), (3, 3)),
        ("only_first", (20, 3), (3, 3)),
        ("only_second", (3, 20), (3, 3)),
    ],
)
def test_what_each_strategy_keeps(strategy, lengths, kept):
    special = 2 if lengths[1] is None else 4
    assert cut(strategy).kept(*lengths, special) == kept


def test_odd_room_goes_to_the_longer_text():
    assert cut(max_length=11).kept(20, 30, 4) == (3, 4)
    assert cut(max_length=11).kept(30, 20, 4) == (4, 3)


def test_no_room_keeps_nothing():
    assert cut(max_length=4).kept(5, 5, 4) == (0, 0)
    assert cut("only_first", max_length=2).kept(5, None, 2) == (0, None)


@pytest.mark.parametrize(
    ("truncation", "lengths", "named"),
    [
        (cut(max_length=3), (0, 0), ("max_length=3", 4)),
        (cut("only_first"), (2, 20), ("'only_first'", "max_length=10", 2, 16)),
        (cut("only_second"), (20, 2), ("'only_second'", "max_length=10", 2, 16)),
        (cut("only_second"), (20, None), ("'only_second'", "'only_first'")),
        (cut(stride=3), (20, 20), ("stride=3", 3)),
    ],
)
def test_what_cannot_be_done_is_said(truncation, lengths, named):
    with pytest.raises(ValueError, match=naming(*named)):
        truncation.kept(*lengths, 2 if lengths[1] is None else 4)


@pytest.mark.parametrize("side", ["right", "left"])
def test_windows_are_those_of_the_library(side):
    library = Tokenizer(models.WordLevel({str(number): number for number in range(20)}, unk_token="0"))
    library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    for count in range(12):
        ids = list(range(count))
        for length in range(count + 2):
            for stride in range(max(length, 1)):
                encoding = library.encode(" ".join(map(str, ids)))
                encoding.truncate(length, stride=stride, direction=side)
                expected = [encoding.ids, *(part.ids for part in encoding.overflowing)]
                assert cut(stride=stride, side=side).windows(ids, length) == expected
