"""Other ways to call a tokenizer, the same in both."""

from __future__ import annotations

import pytest

from support.messages import naming
from support.vocabulary import BOS, EOS, IDS

CAT, THE = IDS["cat</w>"], IDS["the</w>"]


@pytest.fixture
def tokenizer(make):
    return make(model_max_length=6)


def test_the_other_ways_to_call(tokenizer):
    row = [BOS, THE, CAT, EOS]
    assert tokenizer.encode("the cat") == tokenizer.encode_plus("the cat")["input_ids"] == row
    assert tokenizer.encode("the cat", None, False) == [THE, CAT]
    assert tokenizer.encode("the cat", None, False, "max_length", True, 3) == [THE, CAT, EOS]
    assert tokenizer.encode("the", "cat") == tokenizer.batch_encode_plus([("the", "cat")])["input_ids"][0]
    assert tokenizer.batch_encode_plus(["the cat"])["input_ids"] == [row]
    assert tokenizer.encode(["the", "cat"], is_split_into_words=True) == row
    assert tokenizer.tokenize("the cat", add_special_tokens=True) == [
        "<|startoftext|>",
        "the</w>",
        "cat</w>",
        "<|endoftext|>",
    ]
    assert tokenizer.tokenize("the", pair="cat") == ["the</w>", "cat</w>"]


def test_the_other_ways_take_what_they_say(tokenizer):
    for call in (tokenizer.encode, tokenizer.encode_plus):
        with pytest.raises(TypeError, match=naming("text", list, "batch")):
            call(["the", "cat"])
    with pytest.raises(TypeError, match=naming(list, str)):
        tokenizer.batch_encode_plus("the")


def test_ids_can_be_made_ready_too(tokenizer):
    assert dict(tokenizer.prepare_for_model([THE, CAT])) == dict(tokenizer("the cat"))
    batch = tokenizer.prepare_for_model(
        [THE] * 9,
        [CAT],
        truncation=True,
        padding="max_length",
        pad_to_multiple_of=3,
        return_tensors="np",
        prepend_batch_axis=True,
        return_length=True,
    )
    assert batch.input_ids.tolist() == [[BOS, THE, EOS, EOS, CAT, EOS]]
    assert batch.length.tolist() == [6]


def test_settings_may_be_given_by_position(tokenizer):
    """In the order of transformers' methods, of which that for ids has no `is_split_into_words`."""
    expected = tokenizer("the cat", padding="max_length", max_length=6, padding_side="left", return_tensors="np")
    options = [True, "max_length", True, 6, 0, None, "left", "np"]
    row = tokenizer.prepare_for_model([THE, CAT], None, *options)
    same = tokenizer.encode_plus("the cat", None, *options[:5], False, *options[5:])
    batch = tokenizer.batch_encode_plus(["the cat"], *options[:5], False, *options[5:])
    for name in ("input_ids", "attention_mask"):
        assert row[name].tolist() == expected[name][0].tolist()
        assert same[name].tolist() == batch[name].tolist() == expected[name].tolist()
    with pytest.raises(TypeError, match=naming("padding")):
        tokenizer.encode_plus("the", None, True, False, padding=True)
    with pytest.raises(TypeError, match=naming("encode", 10, 11)):
        tokenizer.encode(*["the"] * 10)
