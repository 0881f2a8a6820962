"""From ids back to text, the same in both tokenizers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_core.tokenization import CLIPTokenizer
from clip_core.tokenization.fast import CLIPTokenizerFast
from support.messages import naming
from support.vocabulary import BOS, EOS, IDS, write_vocabulary

CAT, THE = IDS["cat</w>"], IDS["the</w>"]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    files = write_vocabulary(tmp_path_factory.mktemp("vocabulary"))
    return CLIPTokenizer(**files), CLIPTokenizerFast(**files)


@pytest.fixture(params=[0, 1], ids=["slow", "fast"])
def tokenizer(request, both):
    return both[request.param]


def test_words_end_in_spaces_and_signs_do_not(tokenizer):
    assert tokenizer.decode([BOS, THE, CAT, EOS]) == "<|startoftext|>the cat <|endoftext|>"
    assert tokenizer.decode([BOS, THE, CAT, EOS, EOS], skip_special_tokens=True) == "the cat"
    assert tokenizer.decode(CAT) == "cat"


def test_arrays_of_every_framework(tokenizer):
    import jax.numpy as jnp
    import torch

    for ids in (np.array([THE, CAT]), torch.tensor([THE, CAT]), jnp.array([THE, CAT]), (THE, CAT)):
        assert tokenizer.decode(ids) == "the cat"
    assert tokenizer.decode(torch.tensor(CAT)) == "cat"
    assert tokenizer.batch_decode(np.array([[THE, CAT], [CAT, EOS]]), skip_special_tokens=True) == ["the cat", "cat"]


def test_ids_outside_the_vocabulary(tokenizer):
    assert tokenizer.decode([THE, 10**6, CAT]) == "the cat"
    assert tokenizer.convert_ids_to_tokens([THE, 10**6]) == ["the</w>", None]
    with pytest.raises(ValueError, match=naming(-100)):
        tokenizer.decode([THE, -100])


def test_english_punctuation_can_be_joined(tokenizer):
    ids = tokenizer("The cat's, isn't it!")["input_ids"]
    assert tokenizer.decode(ids, True) == "the cat 's , isn 't it !"
    assert tokenizer.decode(ids, True, clean_up_tokenization_spaces=True) == "the cat's, isn 't it!"


def test_bytes_that_are_no_text(tmp_path):
    half = [IDS["\u00c3"]]  # the first of the two bytes of an accented letter
    files = write_vocabulary(tmp_path)
    for cls in (CLIPTokenizer, CLIPTokenizerFast):
        assert cls(**files).decode(half) == "\ufffd"
        assert cls(**files, errors="ignore").decode(half) == ""
        with pytest.raises(LookupError, match=naming("nothing")):
            cls(**files, errors="nothing")


def test_tokens_and_text(tokenizer):
    tokens = tokenizer.tokenize("The caf\u00e9")
    assert tokens == ["the</w>", "ca", "f", "\u00c3\u00a9</w>"]
    assert tokenizer.convert_ids_to_tokens(tokenizer.convert_tokens_to_ids(tokens)) == tokens
    assert tokenizer.convert_tokens_to_string(tokens) == "the caf\u00e9"
    assert tokenizer.convert_ids_to_tokens(CAT) == "cat</w>"
    assert tokenizer.convert_ids_to_tokens([BOS, CAT], skip_special_tokens=True) == ["cat</w>"]


def test_where_special_tokens_are_or_will_be(tokenizer):
    assert tokenizer.get_special_tokens_mask([1, 2]) == [1, 0, 0, 1]
    assert tokenizer.get_special_tokens_mask([1], [2, 3]) == [1, 0, 1, 1, 0, 0, 1]
    assert tokenizer.get_special_tokens_mask([BOS, CAT, EOS], already_has_special_tokens=True) == [1, 0, 1]
    with pytest.raises(ValueError, match=naming("already_has_special_tokens=True", "token_ids_0", "token_ids_1")):
        tokenizer.get_special_tokens_mask([BOS], [CAT], already_has_special_tokens=True)


@settings(deadline=None)
@given(st.lists(st.integers(0, len(IDS) + 3), max_size=20), st.booleans())
def test_both_decode_any_ids_as_the_library_does(both, ids, skip):
    slow, fast = both
    expected = fast.backend_tokenizer.decode(ids, skip_special_tokens=skip).replace("</w>", " ").strip()
    assert slow.decode(ids, skip) == fast.decode(ids, skip) == expected
