"""Features of the fast tokenizer alone: offsets, threads, and processes that fork."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from clip_core.tokenization.fast import CLIPTokenizerFast
from support.messages import naming
from support.vocabulary import BOS, EOS, IDS


@pytest.fixture
def tokenizer(files):
    return CLIPTokenizerFast(**files)


def test_offsets_are_places_in_the_text_as_given(tokenizer):
    text = "  The  Caf\u0065\u0301 !"
    batch = tokenizer(text, return_offsets_mapping=True)
    assert [text[start:end] for start, end in batch.offset_mapping] == ["", "The", "Ca", "f", "e", "!", ""]


def test_offsets_are_cut_and_filled_up_with_the_ids(tokenizer):
    batch = tokenizer(
        ["the cat the", "a"], max_length=4, truncation=True, padding="max_length", return_offsets_mapping=True
    )
    assert batch.offset_mapping == [[(0, 0), (0, 3), (4, 7), (0, 0)], [(0, 0), (0, 1), (0, 0), (0, 0)]]


def test_offsets_of_words(tokenizer):
    batch = tokenizer([["The", "cats"]], is_split_into_words=True, return_offsets_mapping=True)
    assert batch.offset_mapping[0][1:3] == [(0, 3), (0, 2)]
    assert batch.word_ids() == [None, 0, 1, 1, 1, None]


def test_openais_steps_leave_no_offsets(files):
    tokenizer = CLIPTokenizerFast(**files, clean="openai")
    with pytest.raises(NotImplementedError, match=naming("return_offsets_mapping", CLIPTokenizerFast, "clean='hf'")):
        tokenizer("a", return_offsets_mapping=True)


def test_rows_of_what_is_cut_off_have_encodings_too(tokenizer):
    batch = tokenizer("a b c d e", max_length=4, truncation=True, stride=1, return_overflowing_tokens=True)
    assert [encoding.ids for encoding in batch.encodings] == batch.input_ids
    assert [batch.token_to_chars(row, 1) for row in range(4)] == [(0, 1), (2, 3), (4, 5), (6, 7)]


def test_a_copy_is_a_tokenizer_of_its_own(tokenizer):
    tokenizer.add_tokens("dogs")
    for again in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):  # noqa: S301  our own
        assert again("dogs")["input_ids"] == [BOS, len(IDS), EOS]
        again.add_tokens("birds")
        assert len(again) == len(tokenizer) + 1


def test_threads_share_a_tokenizer(tokenizer):
    def row(number):
        length = 3 + number % 5
        return tokenizer("the cat " * 5, max_length=length, truncation=True, padding="max_length")["input_ids"]

    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(row, range(400)))
    assert [len(ids) for ids in rows] == [3 + number % 5 for number in range(400)]


def test_a_fork_after_many_texts_works_and_says_nothing(files):
    code = f"""
import multiprocessing, os
from clip_core.tokenization.fast import CLIPTokenizerFast
tokenizer = CLIPTokenizerFast({str(files["vocab_file"])!r}, {str(files["merges_file"])!r})
def count(number):
    return sum(map(len, tokenizer(["the cat"] * number)["input_ids"]))
assert count(1000) == 4000
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(count, [1000, 10]) == [4000, 40]
assert "TOKENIZERS_PARALLELISM" not in os.environ
"""
    environment = {name: value for name, value in os.environ.items() if name != "TOKENIZERS_PARALLELISM"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True, env=environment
    )
    assert done.stderr == done.stdout == ""


def test_what_a_user_says_of_threads_stays(files):
    code = """
import os
import clip_core.tokenization.fast
child = os.fork()
assert os.environ["TOKENIZERS_PARALLELISM"] == "true"
if child:
    assert os.waitpid(child, 0)[1] == 0
"""
    environment = {"TOKENIZERS_PARALLELISM": "true"}
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, check=True)


@pytest.mark.parametrize("value", [True, False])
def test_add_prefix_space_is_shown_and_changes_no_id(files, tokenizer, value):
    other = CLIPTokenizerFast(**files, add_prefix_space=value)
    assert other.add_prefix_space is value
    assert other("cat")["input_ids"] == tokenizer("cat")["input_ids"]
    assert tokenizer.add_prefix_space is False
