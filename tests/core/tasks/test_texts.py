"""Embedding many texts: in order, each once, in batches of similar length within a window."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest

from clip_core.processing.batch import BatchFeature
from clip_core.tasks.texts import NotFiniteError, encode_by_length, encode_text_batches, encode_texts, tokenize_texts
from support.messages import mentions, naming
from support.training_data import make_processor

LONGEST = 21


class Words:
    """Encoder and processor in one: each word is a token, and the embedding is computed from the ids."""

    tokenizer = SimpleNamespace(model_max_length=LONGEST, pad_token_id=0)

    def __init__(self):
        self.shapes, self.tokenized = [], 0

    def __call__(self, text, **options):
        assert options["padding_side"] == "right"
        self.tokenized += len(text)
        rows = [[sum(map(ord, word)) for word in one.split()][: options.get("max_length")] for one in text]
        longest = max(map(len, rows))
        ids = np.array([row + [0] * (longest - len(row)) for row in rows])
        return BatchFeature({"input_ids": ids, "attention_mask": (ids != 0).astype(np.int64)})

    def encode_texts(self, input_ids, attention_mask):
        self.shapes.append(input_ids.shape)
        return np.stack([input_ids.sum(-1), attention_mask.sum(-1)], axis=-1).astype(np.float32)


@pytest.fixture
def words():
    return Words()


def texts(count):
    random = np.random.default_rng(0)
    return [" ".join([f"w{number}"] * random.integers(1, LONGEST + 1)) for number in range(count)]


def expected(some):
    return [[sum(sum(map(ord, word)) for word in one.split()), len(one.split())] for one in some]


@pytest.mark.parametrize("batch_size", [1, 3, 1000])
def test_embeddings_come_in_the_order_of_the_texts(words, batch_size):
    some = texts(100)
    embeds = encode_texts(words, words, iter(some), batch_size=batch_size)
    assert embeds.dtype == np.float32
    assert embeds.tolist() == expected(some)


def test_batches_are_of_similar_length_and_of_few(words):
    encode_texts(words, words, texts(160), batch_size=10)
    assert all(rows == 10 for rows, _ in words.shapes)
    lengths = [length for _, length in words.shapes]
    assert lengths == sorted(lengths, reverse=True)
    assert set(lengths) == {8, 16, LONGEST}


@pytest.mark.parametrize(("side", "read"), [("right", [16, 8]), ("left", [24, 24])])
def test_columns_that_are_padding_behind_all_texts_are_not_read(words, side, read):
    ids = np.zeros((4, 24), np.int64)
    for row, length in enumerate((3, 12, 9, 5)):
        ids[row, slice(length) if side == "right" else slice(24 - length, None)] = row + 1
    told = []
    mask = (ids != 0).astype(np.int64)
    embeds = encode_by_length(words, ids, mask, batch_size=2, tell=lambda rows, some: told.append((*rows, some.shape)))
    assert embeds[:, 1].tolist() == [3, 12, 9, 5]
    assert [length for _, length in words.shapes] == read
    assert told == {"right": [(1, 2, (2, 2)), (3, 0, (2, 2))], "left": [(0, 1, (2, 2)), (2, 3, (2, 2))]}[side]


def test_equal_texts_are_encoded_once(words):
    some = ["a", "b c", "a", "a", "d"] * 20
    assert encode_texts(words, words, some, batch_size=2).tolist() == expected(some)
    assert sum(rows for rows, _ in words.shapes) == words.tokenized == 3


def test_texts_are_read_as_they_are_needed(words):
    taken = []

    def endless():
        while True:
            taken.append(f"w{len(taken)}")
            yield taken[-1]

    batches = encode_text_batches(words, words, endless(), batch_size=2)
    first, second = next(batches), next(batches)
    assert len(taken) == len(first) + len(second) == 64  # sixteen batches are sorted at a time
    assert np.concatenate([first, second]).tolist() == expected(taken)


def test_a_text_that_is_too_long_is_named_or_cut(words):
    too_long = " ".join("d" * 22)
    with pytest.raises(ValueError, match=naming(repr(too_long), 22, 21, "truncation=True")) as refused:
        encode_texts(words, words, ["a", too_long])
    assert str(copy.copy(refused.value)) == str(refused.value)
    with pytest.raises(ValueError, match=naming(repr(too_long), 22, 21)) as refused:
        tokenize_texts(words, [too_long])
    assert not mentions(str(refused.value), "truncation=True")
    assert not mentions(str(refused.value), "template")
    embeds = encode_texts(words, words, ["a", too_long], truncation=True)
    assert embeds.tolist() == expected(["a", too_long[:41]])


def test_no_texts_one_text_and_no_batch_are_refused(words):
    with pytest.raises(ValueError, match=naming("texts")):
        encode_texts(words, words, [])
    with pytest.raises(TypeError, match=naming("texts='a cat'")):
        encode_texts(words, words, "a cat")
    with pytest.raises(ValueError, match=naming("batch_size=0", 1)):
        encode_text_batches(words, words, ["a"], batch_size=0)


@pytest.mark.parametrize("longest", [77, 24, 5])
def test_a_real_tokenizer_truncates_to_any_maximum_length(tmp_path, longest):
    processor = make_processor(tmp_path)
    processor.tokenizer.model_max_length = longest
    tokenizer = processor.tokenizer
    texts = ["a b c", "a " * 200, "b"]
    ids, mask = tokenize_texts(processor, texts, truncation=True)
    alone = [tokenizer(text, truncation=True, max_length=longest)["input_ids"] for text in texts]
    assert ids.shape == mask.shape == (3, longest)
    assert mask.sum(axis=1).tolist() == [len(row) for row in alone]
    for row, padded in zip(alone, ids.tolist(), strict=True):
        assert padded == row + [tokenizer.pad_token_id] * (longest - len(row))
    short, _ = tokenize_texts(processor, ["b"], truncation=True)
    assert short.shape == (1, min(8, longest))


def test_a_real_tokenizer_fills_up_at_the_right_whatever_its_side(tmp_path):
    processor = make_processor(tmp_path)
    processor.tokenizer.padding_side = "left"
    ids, mask = tokenize_texts(processor, ["a b c", "a"])
    assert ids.shape == mask.shape == (2, 8)
    assert mask[1].tolist() == sorted(mask[1].tolist(), reverse=True)
    assert mask[0].sum() > mask[1].sum()


def test_an_embedding_that_is_not_finite_is_an_error(words):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "encode_texts", lambda ids, _: np.where(ids[:, :2] == ord("b"), np.nan, 1.0))
        assert encode_texts(words, words, ["a a", "c c"]).tolist() == [[1, 1]] * 2
        with pytest.raises(NotFiniteError, match=naming("'b b'")):
            encode_texts(words, words, ["a a", "b b", "c c"])
