"""A tokenizer's result: a dict of columns, and with the fast one, the position of each token; the texts of a call."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from clip_core.processing.encoding import BatchEncoding, CharSpan, TokenSpan, as_pairs
from clip_core.tokenization import CLIPTokenizer
from clip_core.tokenization.fast import CLIPTokenizerFast
from support.messages import naming
from support.vocabulary import write_vocabulary

TEXTS, PAIRS = ["The cat\u00e9", "in"], ["Thing", "and the"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_vocabulary(tmp_path_factory.mktemp("vocabulary"))


@pytest.fixture(scope="module")
def fast(files):
    return CLIPTokenizerFast(**files)


@pytest.fixture(scope="module")
def batch(fast):
    return fast(TEXTS, PAIRS)


def test_it_is_a_dict_whose_keys_are_attributes(batch):
    assert set(batch) == {"input_ids", "attention_mask"}
    assert batch.input_ids is batch["input_ids"]
    with pytest.raises(AttributeError, match=naming("'pixel_values'")):
        _ = batch.pixel_values


def test_a_number_is_an_encoding_of_the_fast_tokenizer(batch, fast):
    assert batch.is_fast
    assert batch[1].ids == batch.encodings[1].ids == batch.input_ids[1]
    assert batch.n_sequences == 2
    assert fast("a").n_sequences == 1


def test_without_encodings_a_number_is_no_key(files):
    slow = CLIPTokenizer(**files)(TEXTS, padding=True)
    assert not slow.is_fast
    assert slow.encodings is slow.n_sequences is None
    assert slow[:1] == {name: value[:1] for name, value in slow.items()}
    with pytest.raises(KeyError, match=naming(0)):
        _ = slow[0]
    with pytest.raises(ValueError, match=naming("CLIPTokenizerFast", "clean='hf'")):
        slow.word_ids()
    with pytest.raises(ValueError, match=naming("CLIPTokenizerFast")):
        CLIPTokenizerFast(**files, clean="openai")(TEXTS).tokens()


def test_where_the_tokens_stand(batch):
    assert batch.tokens()[:5] == ["<|startoftext|>", "the</w>", "ca", "t", "\u00c3\u00a9</w>"]
    assert batch.tokens(1)[:2] == ["<|startoftext|>", "i"]
    assert batch.sequence_ids(1)[:2] == [None, 0]
    assert batch.word_ids()[:2] == batch.words()[:2] == [None, 0]
    assert batch.token_to_chars(1) == CharSpan(0, 3)
    assert batch.token_to_chars(0) is None
    assert batch.token_to_word(0, 1) == batch.token_to_word(1) == 0
    assert batch.token_to_sequence(-2) == 1
    assert batch.token_to_sequence(0) is None
    assert batch.word_to_tokens(0) == TokenSpan(1, 2)
    assert batch.word_to_tokens(7) is None
    assert batch.word_to_chars(0, 0, sequence_index=1) == CharSpan(0, 5)
    assert batch.char_to_token(0, 2) == batch.char_to_token(2) == 1
    assert batch.char_to_token(3) is None  # the space
    assert batch.char_to_word(4) == 1


@pytest.mark.parametrize(
    ("tensor_type", "dtype"), [("np", "int64"), ("pt", "int64"), ("tf", "int32"), ("jax", "int32")]
)
def test_each_framework_gets_its_integers(fast, tensor_type, dtype):
    batch = fast(
        ["the cat", ""], padding=True, return_tensors=tensor_type, return_length=True, return_offsets_mapping=True
    )
    for value in batch.values():
        assert type(value).__module__.split(".")[0] in {"numpy", "torch", "tensorflow", "jaxlib"}
        assert dtype in str(value.dtype)
    assert tuple(batch.input_ids.shape) == (2, 4)
    assert tuple(batch.offset_mapping.shape) == (2, 4, 2)


def test_rows_without_ids_are_integers_too(fast):
    batch = fast(["", ""], add_special_tokens=False, return_tensors="np")
    assert batch.input_ids.shape == (2, 0)
    assert batch.input_ids.dtype == np.int64


def test_rows_of_different_length_are_no_tensor(fast):
    with pytest.raises(ValueError, match=naming("input_ids", "padding=True")):
        fast(["a", "b c"], return_tensors="np")


def test_an_unknown_framework_is_refused(fast):
    with pytest.raises(ValueError, match=naming("return_tensors='numpy'")):
        fast("a", return_tensors="numpy")


def test_it_moves_to_a_device_and_keeps_its_integers(fast):
    import torch

    batch = fast("the cat", return_tensors="pt")
    assert batch.to("cpu") is batch
    assert batch.to("meta").input_ids.device.type == "meta"
    assert batch.to(torch.float16).input_ids.dtype == torch.int64


def test_it_pickles(batch):
    again = pickle.loads(pickle.dumps(batch))  # noqa: S301  our own
    assert again == batch
    assert again.tokens() == batch.tokens()


def test_columns_that_are_arrays_already_stay():
    ids = np.array([[1, 2]], dtype=np.int32)
    batch = BatchEncoding({"input_ids": ids, "scores": [[0.5, 1.0]]}, tensor_type="np")
    assert batch.input_ids is ids
    assert batch.scores.dtype == np.float64


# The texts of a call


def pairs(text, text_pair=None, *, words=False, surrogates=False):
    return as_pairs(text, text_pair, words=words, allow_surrogates=surrogates)


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
    ("text", "text_pair", "words", "named"),
    [
        (None, None, False, ("NoneType", "'None'", str)),
        (3, None, False, (int, "'3'", str)),
        (b"a", None, False, (bytes, str)),
        (["a", None], None, False, ("text 1", "NoneType", str)),
        ("a", 3, False, ("second", int, "'3'", str)),
        (["a"], "b", False, ("text_pair", str, "'b'")),
        ([["a", "b", "c"]], None, False, ("text 0", list, str)),
        ("a b", None, True, ("is_split_into_words=True", str, "'a b'", list)),
        (["a", 3], None, True, ("is_split_into_words=True", int, "'3'", list, str)),
    ],
)
def test_what_is_no_text_is_shown(text, text_pair, words, named):
    with pytest.raises(TypeError, match=naming(*named)):
        pairs(text, text_pair, words=words)


@pytest.mark.parametrize("text", [5, None, ["a", 5], b"a"])
def test_what_is_no_text_is_a_value_error_as_in_transformers(text):
    with pytest.raises(ValueError, match=naming(str)):
        pairs(text)


def test_batches_are_not_empty_and_of_one_length():
    with pytest.raises(ValueError, match=naming("batch", "empty")):
        pairs([])
    with pytest.raises(ValueError, match=naming("text", 1, "text_pair", 2)):
        pairs(["a"], ["b", "c"])


def test_half_a_surrogate_pair_is_refused_unless_cleaning_repairs_it():
    with pytest.raises(ValueError, match=naming("surrogate", "U+D800")):
        pairs(["a", "b\ud800"])
    assert pairs("\ud800", surrogates=True) == ([("\ud800", None)], False)


def test_an_axis_of_the_batch_is_put_in_front_of_arrays_alone():
    columns = {"input_ids": [1, 2], "length": 2}
    assert BatchEncoding(columns, prepend_batch_axis=True).data == columns
    batch = BatchEncoding(columns, None, "np", True)  # the fourth place, as in transformers
    assert {name: value.tolist() for name, value in batch.items()} == {"input_ids": [[1, 2]], "length": [2]}
    assert BatchEncoding(columns).convert_to_tensors("np", prepend_batch_axis=True).input_ids.shape == (1, 2)
