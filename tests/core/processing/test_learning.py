"""Tokenizers with a vocabulary learned from texts; `tests/parity` compares it with transformers."""

from __future__ import annotations

import pytest

from clip_core.tokenization import CLIPTokenizer, CLIPTokenizerFast
from support.messages import naming
from support.vocabulary import write_vocabulary

TEXTS = ["Cab car cat", "to go to we"]


@pytest.fixture
def tokenizer(tmp_path):
    files = write_vocabulary(tmp_path)
    return CLIPTokenizerFast(**files, model_max_length=9, additional_special_tokens=["<old>"], padding_side="left")


def learn(tokenizer, size=290, **options):
    return tokenizer.train_new_from_iterator(TEXTS, size, show_progress=False, **options)


def test_settings_and_special_tokens_stay(tokenizer):
    new = learn(tokenizer)
    assert (new.model_max_length, new.padding_side, new.additional_special_tokens) == (9, "left", ["<old>"])
    assert sorted(new.all_special_ids) == [0, 1, 2]
    assert new.convert_ids_to_tokens(new("to car")["input_ids"])[1:-1] == ["to</w>", "car</w>"]
    assert tokenizer.vocab != new.vocab


def test_special_tokens_get_new_names(tokenizer):
    new = learn(tokenizer, special_tokens_map={"<old>": "<new>", "<|endoftext|>": "<end>"}, new_special_tokens=["<x>"])
    assert new.additional_special_tokens == ["<new>", "<x>"]
    assert (new.eos_token, new.pad_token, new.unk_token) == ("<end>", "<end>", "<end>")
    assert new.get_added_vocab().keys() == {"<|startoftext|>", "<end>", "<new>", "<x>"}
    assert new.convert_ids_to_tokens(new("to<new>")["input_ids"]) == ["<|startoftext|>", "to</w>", "<new>", "<end>"]


def test_both_classes_read_what_was_saved(tokenizer, tmp_path):
    new = learn(tokenizer)
    new.save_pretrained(tmp_path / "new")
    for kind in (CLIPTokenizer, CLIPTokenizerFast):
        assert (
            kind.from_pretrained(tmp_path / "new")("A cab to go <old>")["input_ids"]
            == new("A cab to go <old>")["input_ids"]
        )


@pytest.mark.parametrize("size", [0, 1.5, True, None])
def test_a_size_is_a_positive_integer(tokenizer, size):
    with pytest.raises(ValueError, match=naming(f"vocab_size={size!r}", 1)):
        learn(tokenizer, size)
