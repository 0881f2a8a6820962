"""The facts in a tokenizer's files, in each of their forms."""

from __future__ import annotations

import json

import pytest

from converters.inspection.tokenizer_facts import TokenizerFacts, tokenizer_facts
from support.messages import naming

VOCABULARY = {"a": 0, "b": 1, "<s>": 2, "<e>": 3}


def write(folder, **files):
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def test_a_folder_without_a_tokenizer(tmp_path):
    assert tokenizer_facts(tmp_path) is None


def test_the_fast_tokenizers_file(tmp_path):
    added = [{"content": "<e>", "id": 3}, {"content": "<new>", "id": 4}]
    write(tmp_path, tokenizer={"model": {"vocab": VOCABULARY}, "added_tokens": added})
    write(tmp_path, tokenizer_config={"eos_token": "<e>", "pad_token": {"content": "<new>"}, "model_max_length": 77})
    assert tokenizer_facts(tmp_path) == TokenizerFacts(5, 1, eos_token_id=3, pad_token_id=4, max_length=77)


def test_the_slow_tokenizers_files(tmp_path):
    write(tmp_path, vocab=VOCABULARY, added_tokens={"<new>": 4}, special_tokens_map={"eos_token": "<e>"})
    assert tokenizer_facts(tmp_path) == TokenizerFacts(5, 1, eos_token_id=3)


def test_no_limit_is_none(tmp_path):
    write(tmp_path, vocab=VOCABULARY, tokenizer_config={"model_max_length": int(1e30)})
    assert tokenizer_facts(tmp_path).max_length is None


def test_a_file_that_is_not_an_object_is_refused_by_name(tmp_path):
    write(tmp_path, vocab=[1, 2])
    with pytest.raises(ValueError, match=naming("vocab.json", "JSON")):
        tokenizer_facts(tmp_path)
