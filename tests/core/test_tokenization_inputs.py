"""One text, batches, pairs and words; and what is none of these."""

from __future__ import annotations

import pytest

from clip_core.tokenization_inputs import as_pairs


def pairs(text, text_pair=None, *, words=False, surrogates=False):
    return as_pairs(text, text_pair, is_split_into_words=words, allow_surrogates=surrogates)


@pytest.mark.parametrize(
    ("text", "text_pair", "expected"),
    [
        ("a", None, ([("a", None)], False)),
        ("a", "b", ([("a", "b")], False)),
        ("a", "", ([("a", None)], False)),
        (["a", "b"], None, ([("a", None), ("b", None)], True)),
        (("a",), None, ([("a", None)], True)),
        (["a", "b"], ["c", ""], ([("a", "c"), ("b", "")], True)),
        ([("a", "b"), "c", ["d", "e"]], None, ([("a", "b"), ("c", None), ("d", "e")], True)),
    ],
)
def test_texts(text, text_pair, expected):
    assert pairs(text, text_pair) == expected


@pytest.mark.parametrize(
    ("text", "text_pair", "expected"),
    [
        (["a", "b"], None, ([(["a", "b"], None)], False)),
        ([], None, ([([], None)], False)),
        (["a"], ["b", "c"], ([(["a"], ["b", "c"])], False)),
        ([["a", "b"], []], None, ([(["a", "b"], None), ([], None)], True)),
        ([(["a"], ["b"])], None, ([(["a"], ["b"])], True)),
    ],
)
def test_words(text, text_pair, expected):
    assert pairs(text, text_pair, words=True) == expected


@pytest.mark.parametrize(
    ("text", "text_pair", "words", "message"),
    [
        (None, None, False, "the text is NoneType 'None', not a str"),
        (3, None, False, "the text is int '3', not a str"),
        (b"a", None, False, "the text is bytes"),
        (["a", None], None, False, "text 1 of the batch is NoneType 'None', not a str"),
        ("a", 3, False, "the second text of the text is int '3', not a str"),
        (["a"], "b", False, "text is a batch, so text_pair must be one too, not str 'b'"),
        ([["a", "b", "c"]], None, False, "text 0 of the batch is list"),
        ("a b", None, True, "the text is str 'a b'; with is_split_into_words=True it is a list of words"),
        (["a", 3], None, True, "the text is int '3', not a list of str"),
    ],
)
def test_what_is_no_text_is_shown(text, text_pair, words, message):
    with pytest.raises(TypeError, match=message):
        pairs(text, text_pair, words=words)


def test_batches_are_not_empty_and_of_one_length():
    with pytest.raises(ValueError, match="the batch of texts is empty"):
        pairs([])
    with pytest.raises(ValueError, match="text holds 1 texts, but text_pair 2"):
        pairs(["a"], ["b", "c"])


def test_half_a_surrogate_pair_is_refused_unless_cleaning_repairs_it():
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        pairs(["a", "b\ud800"])
    assert pairs("\ud800", surrogates=True) == ([("\ud800", None)], False)
