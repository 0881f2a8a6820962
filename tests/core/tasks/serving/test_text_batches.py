"""Texts of different requests, in one batch: each gets its own answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from clip_core.tasks.serving.inputs import TextInput
from clip_core.tasks.serving.settings import RequestError
from clip_core.tasks.serving.text_batches import TextEncoder, Tokens, Untokenized
from clip_core.tasks.zero_shot import ZeroShotClassifier
from support.served import ALPHABET, Colours, in_progress, served, wait_for

LONG = " ".join("c" * 17)  # one more than the model accepts


@pytest.fixture
def colours():
    return Colours()


@pytest.fixture
def encoder(colours):
    return TextEncoder(ZeroShotClassifier(colours, colours), most=8)


def test_texts_are_tokenized_together_or_before(colours, encoder):
    before = encoder.tokenize([TextInput("a a a", "input"), TextInput("b", "input")], truncation=False)
    short, cut = Untokenized(TextInput("d d", "input"), False), Untokenized(TextInput(LONG, "input"), True)
    found = encoder.encode([before[1], cut, short, before[0]])
    np.testing.assert_array_equal([one.embed for one in found], np.eye(ALPHABET, dtype=np.float32)[[1, 2, 3, 0]])
    assert [one.tokens for one in found] == [1, 16, 2, 3]
    assert colours.batches == [("text", 4)]


def test_a_text_that_is_too_long_leaves_the_others_as_they_are(colours, encoder):
    texts = [Untokenized(TextInput(text, text), False) for text in ("a", LONG, "b", LONG)]
    found = encoder.encode(texts)
    assert [one.embed.argmax() for one in found[::2]] == [0, 1]
    for error in found[1::2]:
        assert isinstance(error, RequestError)
        assert (error.status, error.param, error.code) == (400, LONG, "text_too_long")
    assert colours.batches == [("text", 2)]
    assert [type(one) for one in encoder.encode(texts[1::2])] == [RequestError, RequestError]
    assert colours.batches == [("text", 2)]


def test_rows_are_filled_up_for_a_model_that_compiles_each_shape(colours, encoder):
    colours.compiles_each_shape = True
    texts = [Untokenized(TextInput(text, "input"), False) for text in "abcde"]
    assert [one.embed.argmax() for one in encoder.encode(texts)] == [0, 1, 2, 3, 4]
    assert colours.batches == [("text", 8)]


def test_the_first_text_at_fault_is_named(encoder):
    texts = [TextInput("a", "input[0]"), TextInput(LONG, "input[1]"), TextInput(LONG, "input[2]")]
    with pytest.raises(RequestError) as raised:
        encoder.tokenize(texts, truncation=False)
    assert raised.value.param == "input[1]"
    assert [type(one) for one in encoder.tokenize(texts, truncation=True)] == [Tokens] * 3


def test_a_text_that_is_too_long_is_refused_and_those_in_its_batch_answered():
    encoder = Colours()
    texts = ["a", LONG, "c"]
    with served(encoder, max_wait=0) as client, ThreadPoolExecutor(4) as pool:
        encoder.batches.clear()
        encoder.may_run.clear()
        first = pool.submit(client.post, "/v1/embeddings", {"input": "d"})
        wait_for(lambda: in_progress(client) == 1)
        answers = [pool.submit(client.post, "/v1/embeddings", {"input": text}) for text in texts]
        wait_for(lambda: in_progress(client) == 4)
        encoder.may_run.set()
        assert first.result()[0] == 200
        (_, good), (status, bad), (_, other) = (answer.result() for answer in answers)
    assert [good["data"][0]["embedding"], other["data"][0]["embedding"]] == np.eye(ALPHABET)[[0, 2]].tolist()
    assert (status, bad["error"]["param"], bad["error"]["code"]) == (400, "input", "text_too_long")
    assert encoder.batches == [("text", 1), ("text", 2)]
