"""Both tokenizers against transformers' fast one, text by text and call by call."""

from __future__ import annotations

import itertools
import json
import shutil

import pytest

from clip_core.tokenization import CLIPTokenizer
from clip_core.tokenization.fast import CLIPTokenizerFast
from support.added_tokens import ADDED, ADDED_PIECES, CLASSES, as_added, assert_rows_equal
from support.messages import naming
from support.texts import corpus
from support.vocabulary import write_vocabulary

REFERENCE = "oracle_tokenizers"

# Texts


def test_ids_masks_and_offsets_of_mixed_texts(reference, checkpoint, tokenizers):
    texts = corpus(4000)
    arguments = {"text": texts, "return_special_tokens_mask": True, "padding": True, "truncation": True}
    expected = reference(
        "tokenizer_calls", folder=str(checkpoint), calls=[{**arguments, "return_offsets_mapping": True}]
    )[0]
    slow, fast = tokenizers
    for tokenizer, offsets in [(slow, False), (fast, True)]:
        found = tokenizer(**arguments, return_offsets_mapping=offsets)
        assert list(found) == [name for name in expected if offsets or name != "offset_mapping"]
        for name, rows in found.items():
            assert_rows_equal(rows, expected[name], texts)


@pytest.mark.parametrize("split_special_tokens", [False, True])
def test_ids_with_added_tokens(reference, checkpoint, split_special_tokens):
    texts = corpus(3000, extra=ADDED_PIECES, seed=1)
    arguments = {"text": texts, "split_special_tokens": split_special_tokens}
    expected = reference("tokenizer_calls", folder=str(checkpoint), added=ADDED, calls=[arguments])[0]
    for cls in CLASSES:
        tokenizer = cls.from_pretrained(checkpoint)
        assert tokenizer.add_tokens(as_added(ADDED)) == 6  # "!!" is in the vocabulary
        assert_rows_equal(tokenizer(**arguments, verbose=False)["input_ids"], expected["input_ids"], texts)


def test_files_that_name_the_signs_in_their_pattern(reference, small, tmp_path):
    # As that of openai/clip-vit-base-patch32 does.
    for name in ("vocab.json", "merges.txt", "tokenizer.json"):
        shutil.copy(small / name, tmp_path / name)
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    content["added_tokens"][1]["normalized"] = False
    pattern = content["pre_tokenizer"]["pretokenizers"][0]["pattern"]
    pattern["Regex"] = r"<\|startoftext\|>|<\|endoftext\|>|" + pattern["Regex"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    texts = [
        "<|ENDOFTEXT|>>",
        "!<|EndOfText|>!",
        "<|STARTOFTEXT|><|endoftext|>>",
        *corpus(1500, extra=("<|ENDOFTEXT|>",)),
    ]
    calls = [{"text": texts}, {"text": texts, "split_special_tokens": True}]
    expected = reference("tokenizer_calls", folder=str(tmp_path), calls=calls)
    for cls in CLASSES:
        tokenizer = cls.from_pretrained(tmp_path)
        for call, theirs in zip(calls, expected, strict=True):
            assert_rows_equal(tokenizer(**call, verbose=False)["input_ids"], theirs["input_ids"], texts)
    CLIPTokenizerFast.from_pretrained(tmp_path).save_pretrained(tmp_path / "again")
    again = json.loads((tmp_path / "again" / "tokenizer.json").read_text())
    assert again["pre_tokenizer"] == content["pre_tokenizer"]


def test_a_small_vocabulary_built_from_its_files(reference, tmp_path):
    write_vocabulary(tmp_path)
    texts = corpus(1500, seed=2)
    expected = reference("tokenizer_calls", folder=str(tmp_path), calls=[{"text": texts}])[0]["input_ids"]
    for cls in CLASSES:
        assert_rows_equal(cls.from_pretrained(tmp_path)(texts)["input_ids"], expected, texts)


@pytest.mark.parametrize("options", [{}, {"skip_special_tokens": True}, {"clean_up_tokenization_spaces": True}])
def test_decoding(reference, checkpoint, tokenizers, options):
    texts = corpus(2000, seed=3)
    rows = tokenizers[0](texts, verbose=False)["input_ids"]
    rows += [list(range(start, start + 40)) for start in range(0, 49500, 97)]  # bytes that are no UTF-8, and no token
    expected = reference("decoded", folder=str(checkpoint), rows=rows, **options)
    for tokenizer in tokenizers:
        assert_rows_equal(tokenizer.batch_decode(rows, **options), expected, rows)


def test_decoding_with_added_tokens(reference, checkpoint):
    slow = CLIPTokenizer.from_pretrained(checkpoint)
    slow.add_tokens(as_added(ADDED))
    rows = slow(corpus(1000, extra=ADDED_PIECES, seed=4), verbose=False)["input_ids"]
    for options in ({}, {"skip_special_tokens": True}):
        expected = reference("decoded", folder=str(checkpoint), rows=rows, added=ADDED, **options)
        assert_rows_equal(slow.batch_decode(rows, **options), expected, rows)


def test_where_the_tokens_stand(reference, checkpoint, tokenizers):
    from support.oracle_tokenizers import where_tokens_stand

    # Each text and its pair begin with a word, so that there is one to ask for.
    texts = ["a " + text[:40] for text in corpus(400, seed=5)]
    pairs = ["b " + text[:40] for text in corpus(400, seed=6)]
    expected = reference("alignment", folder=str(checkpoint), texts=texts, pairs=pairs)
    batch = tokenizers[1](texts, pairs, verbose=False)
    assert_rows_equal([where_tokens_stand(batch, row) for row in range(len(texts))], expected, texts)


# Calls

LONG = "a photo of a nice cat and two dogs"
SHORT = "hello!"
CALLS = [
    {"text": text, "padding": padding, "truncation": truncation, "max_length": max_length, **options}
    for text, padding, truncation, max_length, options in itertools.product(
        [LONG, [LONG, SHORT, ""]],
        [False, True, "max_length"],
        [None, False, True, "only_first"],
        [None, 6, 20],
        [{}, {"pad_to_multiple_of": 8, "padding_side": "left"}, {"add_special_tokens": False, "return_length": True}],
    )
] + [
    {"text": texts, "text_pair": pairs, "truncation": truncation, "max_length": max_length, "padding": padding}
    for texts, pairs, truncation, max_length, padding in itertools.product(
        [[LONG, SHORT, SHORT]],
        [[SHORT, LONG, ""]],
        [True, "only_first", "only_second", "longest_first"],
        [10, 13, 16],
        [False, True],
    )
]
OTHER_CALLS = [
    {"text": LONG, "truncation": True, "max_length": 6, "stride": stride, "return_overflowing_tokens": True}
    for stride in (0, 1, 3)
] + [
    {
        "text": LONG,
        "text_pair": "g h i j k",
        "truncation": True,
        "max_length": 12,
        "stride": 1,
        "return_overflowing_tokens": True,
    },
    {"text": [LONG, SHORT], "truncation": True, "max_length": 6, "return_overflowing_tokens": True, "padding": True},
    {"text": LONG, "truncation": True, "max_length": 2, "return_overflowing_tokens": True},
    {"text": ["a", "b c"], "is_split_into_words": True},
    {"text": [["a", "Photo's"], ["b c"], []], "is_split_into_words": True, "padding": True},
    {"text": [["a"], ["b"]], "text_pair": [["c", "d"], ["e"]], "is_split_into_words": True},
    {"text": [("a", "b"), ("c", "d e")]},
    {"text": "a", "text_pair": ""},
    {"text": "a", "text_pair": "b", "add_special_tokens": False, "return_token_type_ids": True},
    {"text": "a", "return_attention_mask": False, "return_special_tokens_mask": True, "return_length": True},
    {"text": ["a b", "c d"], "return_tensors": "pt", "return_length": True, "return_token_type_ids": True},
    {"text": "a b", "return_tensors": "np"},
    {"text": "word " * 100},
]


def assert_calls_alike(tokenizer, calls, expected):
    for call, theirs in zip(calls, expected, strict=True):
        if isinstance(theirs, str):  # lengths that do not go together
            with pytest.raises(ValueError, match=naming("max_length")):
                tokenizer(**call)
            continue
        found = tokenizer(**call, verbose=False)
        columns = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in found.items()}
        assert columns == theirs, call
        assert list(columns) == list(theirs), call


@pytest.mark.parametrize("truncation_side", ["right", "left"])
def test_calls(reference, checkpoint, truncation_side):
    calls, options = CALLS + OTHER_CALLS, {"truncation_side": truncation_side}
    expected = reference("tokenizer_calls", folder=str(checkpoint), options=options, calls=calls)
    assert_calls_alike(CLIPTokenizerFast.from_pretrained(checkpoint, **options), calls, expected)
    makes_rows = ["return_overflowing_tokens" in call for call in calls]
    # The slow class returns the length of one text as a number, as the reference's slow one does.
    for call, theirs in zip(calls, expected, strict=True):
        if "length" in theirs and isinstance(call["text"], str) and not isinstance(theirs, str):
            theirs["length"] = theirs["length"][0]
    kept = [pair for pair, skip in zip(zip(calls, expected, strict=True), makes_rows, strict=True) if not skip]
    assert_calls_alike(CLIPTokenizer.from_pretrained(checkpoint, **options), *zip(*kept, strict=True))


OVERFLOWS = [
    {"text": LONG, "max_length": 6},
    {"text": LONG, "max_length": 6, "stride": 2},
    {"text": [LONG, SHORT], "max_length": 6, "padding": True},
    {"text": [LONG, SHORT], "max_length": 6, "truncation": False},
    {"text": LONG, "text_pair": SHORT, "max_length": 9, "stride": 1, "truncation": "only_first"},
    {"text": SHORT, "text_pair": LONG, "max_length": 9, "truncation": "only_second"},
    {"text": LONG, "max_length": 6, "return_tensors": "np"},
]


@pytest.mark.parametrize("truncation_side", ["right", "left"])
def test_the_slow_tokenizer_returns_overflowing_tokens_as_the_references_slow_one(
    reference, checkpoint, truncation_side
):
    calls = [{"truncation": True, "return_overflowing_tokens": True, **call} for call in OVERFLOWS]
    options = {"truncation_side": truncation_side}
    expected = reference("tokenizer_calls", folder=str(checkpoint), options=options, calls=calls, fast=False)
    assert_calls_alike(CLIPTokenizer.from_pretrained(checkpoint, **options), calls, expected)
    pair = {**calls[0], "text_pair": SHORT}
    assert "longest_first" in reference("tokenizer_calls", folder=str(checkpoint), calls=[pair], fast=False)[0]
    with pytest.raises(ValueError, match=naming("truncation='only_first'", "'only_second'")):
        CLIPTokenizer.from_pretrained(checkpoint)(**pair)


@pytest.mark.parametrize("cls", CLASSES)
def test_attributes_and_subclasses_work_alike(reference, small, cls):
    from support.oracle_tokenizers import behaviours_of

    expected = reference("behaviours", folder=str(small), fast=cls.is_fast)
    found = behaviours_of(cls, str(small))
    assert found.keys() == expected.keys()
    assert {name for name, value in found.items() if value != expected[name]} == set()


def test_what_the_reference_refuses_is_refused(reference, checkpoint, tokenizers):
    calls = [
        {"text": None},
        {"text": [1, 2]},
        {"text": ["a", None]},
        {"text": []},
        {"text": "\ud800"},
        {"text": ["a"], "text_pair": "b"},
        {"text": ["a"], "text_pair": ["b", "c"]},
        {"text": "a", "padding": "longst"},
        {"text": "a", "truncation": "yes"},
        {"text": "a", "return_tensors": "numpy"},
        {"text": ["a", "b c"], "return_tensors": "pt"},
        {"text": "a b c", "truncation": "only_second", "max_length": 4},
        {"text": "a", "text_pair": "b c d e", "truncation": "only_first", "max_length": 6},
        {"text": "a b c", "truncation": True, "max_length": 5, "padding": True, "pad_to_multiple_of": 4},
    ]
    answers = reference("tokenizer_calls", folder=str(checkpoint), calls=calls)
    assert [call for call, answer in zip(calls, answers, strict=True) if not isinstance(answer, str)] == []
    for tokenizer, call in itertools.product(tokenizers, calls):
        with pytest.raises((TypeError, ValueError)):
            tokenizer(**call)
