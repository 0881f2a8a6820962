"""The byte-pair encoding in Python, and that both tokenizers give the same ids to every text."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clip_core.tokenization import AddedToken, CLIPTokenizer
from clip_core.tokenization.fast import CLIPTokenizerFast
from support.texts import PIECES
from support.vocabulary import BOS, EOS, IDS, openai_package, write_vocabulary

ADDED = [
    AddedToken("<Left>", lstrip=True, normalized=False),
    AddedToken("<right>", rstrip=True),
    AddedToken("Cat", single_word=True),
    AddedToken("<S>", special=True),
    "cat-toy",
    "\u00c9",
]
TOKEN_PIECES = ["<Left>", "<left>", "<right>", "<RIGHT>", " cat", "Cat ", "<S>", "<s>", "cat-toy", "e\u0301"]

CHARACTERS = st.characters(exclude_categories=())  # lone halves of surrogate pairs as well
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES + TOKEN_PIECES), st.text(CHARACTERS, max_size=4)), max_size=8).map(
    "".join
)
TOKENS = st.builds(
    AddedToken,
    st.text(st.sampled_from("aAbé<> \u0301İ!"), min_size=1, max_size=3),
    single_word=st.booleans(),
    lstrip=st.booleans(),
    rstrip=st.booleans(),
    normalized=st.booleans(),
    special=st.booleans(),
)


@pytest.fixture(scope="module")
def tokenizer(files):
    return CLIPTokenizer(**files)


@pytest.fixture(scope="module")
def pairs(files):
    """Slow and fast, in both modes, without and with added tokens; and with OpenAI's vocabulary, if there is one."""
    made = []
    for clean in ("hf", "openai"):
        for added in ([], ADDED):
            made.append([cls(**files, clean=clean) for cls in (CLIPTokenizer, CLIPTokenizerFast)])
            for one in made[-1]:
                one.add_tokens(added)
    return made


@pytest.fixture(scope="module")
def openai_pairs():
    path = openai_package() / "bpe_simple_vocab_16e6.txt.gz"
    return [[cls(path, clean=clean) for cls in (CLIPTokenizer, CLIPTokenizerFast)] for clean in ("hf", "openai")]


def ids_or_error(tokenizer, text):
    try:
        return tokenizer(text, verbose=False)["input_ids"]
    except ValueError as error:
        return str(error)


def assert_alike(pairs, text):
    for slow, fast in pairs:
        assert ids_or_error(slow, text) == ids_or_error(fast, text), slow.clean


# The merges


def test_words_merge_by_rank(tokenizer):
    assert tokenizer.tokenize("the thing can") == ["the</w>", "th", "ing</w>", "ca", "n</w>"]
    assert tokenizer("the cat")["input_ids"] == [BOS, IDS["the</w>"], IDS["cat</w>"], EOS]


def test_of_one_rank_the_leftmost_merges_first(tokenizer):
    assert tokenizer.tokenize("!!!") == ["!!", "!</w>"]
    assert tokenizer.tokenize("!!!!!") == ["!!", "!!", "!</w>"]


def test_what_the_vocabulary_cannot_write_is_unknown(tmp_path):
    files = write_vocabulary(tmp_path)
    text = files["vocab_file"].read_text()
    files["vocab_file"].write_text(text.replace('"x":', '"<no x>":'))
    for cls in (CLIPTokenizer, CLIPTokenizerFast):
        assert cls(**files)("xxa")["input_ids"] == [BOS, EOS, EOS, IDS["a</w>"], EOS]


def test_a_very_long_word_takes_no_long_time(tokenizer):
    start = time.process_time()
    assert len(tokenizer("th" * 50_000, verbose=False)["input_ids"]) == 50_002 + 1
    assert time.process_time() - start < 10


def test_words_are_kept_but_not_without_end(files, monkeypatch):
    monkeypatch.setattr("clip_core.tokenization.tokenizer._CACHED_WORDS", 2)
    tokenizer = CLIPTokenizer(**files)
    first = tokenizer("a b c d a b")["input_ids"]
    assert list(tokenizer._words) == ["a", "b"]
    assert tokenizer("a b c d a b")["input_ids"] == first
    tokenizer("x" * 1000)
    assert len(tokenizer._words) == 2


def test_no_library_is_loaded_before_a_tokenizer_is_asked_for():
    code = "import sys, clip_core.tokenization; print(sorted({'tokenizers', 'torch', 'ftfy'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# Slow and fast


@settings(deadline=None, max_examples=1000)
@given(TEXTS)
def test_any_text_has_the_same_ids_in_both(pairs, text):
    assert_alike(pairs, text)


@settings(deadline=None, max_examples=500)
@given(TEXTS)
def test_any_text_has_the_same_ids_in_both_with_openais_vocabulary(openai_pairs, text):
    assert_alike(openai_pairs, text)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(TOKENS, max_size=4),
    st.lists(st.text(st.sampled_from("aAbBé\u0301<> İi!"), max_size=12), min_size=1, max_size=5),
)
@example(tokens=[AddedToken(" ", lstrip=True, rstrip=True, normalized=False)], texts=["  ", "a   a"])
def test_any_added_tokens_are_found_alike(files, tokens, texts):
    for clean in ("hf", "openai"):
        slow, fast = (cls(**files, clean=clean) for cls in (CLIPTokenizer, CLIPTokenizerFast))
        assert slow.add_tokens(tokens) == fast.add_tokens(tokens)
        assert slow.get_vocab() == fast.get_vocab()
        for split in (False, True):
            assert dict(slow(texts, split_special_tokens=split)) == dict(fast(texts, split_special_tokens=split))


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.tuples(st.text("ab !", max_size=12), st.text("ab !", max_size=12)), min_size=1, max_size=3),
    st.booleans(),
    st.sampled_from(["longest_first", "only_first", "only_second", False]),
    st.sampled_from([False, True, "max_length"]),
    st.integers(0, 16),
    st.integers(0, 3),
    st.sampled_from([None, 4]),
    st.sampled_from(["left", "right"]),
    st.booleans(),
)
def test_any_lengths_are_kept_alike(
    files, texts, paired, truncation, padding, max_length, stride, multiple, side, special
):
    def answer(cls, padding, **options):
        try:
            batch = cls(**files, truncation_side=side)(
                [text for text, _ in texts],
                [pair for _, pair in texts] if paired else None,
                truncation=truncation,
                padding=padding,
                max_length=max_length,
                stride=stride,
                pad_to_multiple_of=multiple,
                padding_side=side,
                add_special_tokens=special,
                **options,
            )
        except ValueError as error:
            return str(error)
        return dict(batch)

    columns = {"return_special_tokens_mask": True, "return_token_type_ids": True, "return_length": True}
    slow, fast = (answer(cls, padding, **columns) for cls in (CLIPTokenizer, CLIPTokenizerFast))
    assert slow == fast
    if not (paired and truncation == "longest_first"):  # of which the slow one returns nothing that is cut off
        slow, fast = (answer(cls, False, return_overflowing_tokens=True) for cls in (CLIPTokenizer, CLIPTokenizerFast))
        if isinstance(fast, str):
            assert slow == fast
        else:
            samples = fast["overflow_to_sample_mapping"]
            assert slow["input_ids"] == [fast["input_ids"][samples.index(number)] for number in range(len(texts))]
