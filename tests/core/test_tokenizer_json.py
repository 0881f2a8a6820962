"""A tokenizer.json that treats text otherwise than CLIP is refused, by what it does."""

from __future__ import annotations

import copy
import json

import pytest

from clip_core.tokenization_fast import CLIPTokenizerFast
from clip_core.tokenizer_json import check_text_steps, has_signs_in_pattern
from support.vocabulary import write_vocabulary


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabulary")
    return json.loads(CLIPTokenizerFast(**write_vocabulary(folder)).backend_tokenizer.to_str())


@pytest.fixture
def content(good):
    return copy.deepcopy(good)


def test_clips_own_is_taken(content):
    check_text_steps(content, "tokenizer.json")


def test_the_signs_may_stand_in_the_pattern(content):
    pattern = content["pre_tokenizer"]["pretokenizers"][0]["pattern"]
    assert not has_signs_in_pattern(content)
    pattern["Regex"] = r"<\|startoftext\|>|<\|endoftext\|>|" + pattern["Regex"]
    check_text_steps(content, "tokenizer.json")
    assert has_signs_in_pattern(content)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["normalizer"], None, "normalizer"),
        (["normalizer", "normalizers"], [{"type": "NFC"}], "normalizer"),
        (["normalizer", "normalizers", 0], {"type": "NFKC"}, "normalizer"),
        (["normalizer", "normalizers", 1, "content"], "", "normalizer"),
        (["pre_tokenizer"], None, "pre_tokenizer"),
        (["pre_tokenizer"], {"type": "ByteLevel", "add_prefix_space": False}, "pre_tokenizer"),
        (["pre_tokenizer", "pretokenizers", 0, "pattern"], {"String": " "}, "pre_tokenizer"),
        (["pre_tokenizer", "pretokenizers", 0, "invert"], False, "pre_tokenizer"),
        (["pre_tokenizer", "pretokenizers", 1, "add_prefix_space"], True, "pre_tokenizer"),
        (["model", "end_of_word_suffix"], None, "model"),
        (["model", "continuing_subword_prefix"], "##", "model"),
        (["model", "dropout"], 0.1, "model"),
        (["model", "byte_fallback"], True, "model"),
        (["model", "ignore_merges"], True, "model"),
    ],
)
def test_other_steps_are_refused_by_name(content, path, value, message):
    part = content
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(
        ValueError, match=f"here/tokenizer.json is not that of a CLIP tokenizer: its {message}.*from_slow=True"
    ):
        check_text_steps(content, "here/tokenizer.json")
