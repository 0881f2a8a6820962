"""The cleaning and splitting of texts, in both modes."""

from __future__ import annotations

import pytest

from clip_core.tokenization import AddedToken
from clip_core.tokenization.text import (
    AddedTokenFinder,
    TextReader,
    hf_clean,
    hf_words,
    hf_words_around_signs,
    openai_clean,
    openai_words,
)

SIGNS = {"<|startoftext|>": 1, "<|endoftext|>": 2}
ADDED = {
    1: AddedToken("<|startoftext|>", special=True, normalized=True),
    2: AddedToken("<|endoftext|>", special=True, normalized=True),
    3: AddedToken("<New>", special=True),
    4: AddedToken("Bird"),
}


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("A  photo\n\tof", "a photo of"),
        (" x ", " x "),
        ("e\u0301", "\u00e9"),
        ("\u039f\u03a3", "\u03bf\u03c3"),  # no final sigma
        ("\u0130", "i\u0307"),
        ("&amp;", "&amp;"),
        ("\x1cA\u3000B", "\x1ca b"),
    ],
)
def test_hf_clean(text, cleaned):
    assert hf_clean([text, 7, None]) == [cleaned, 7, None]


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (" A  photo\n\tof ", "a photo of"),
        ("&amp;lt;b&amp;gt;", "<b>"),
        ("<p>&amp;amp;lt;", "<p>&lt;"),  # twice, not thrice
        ("\u00e2\u20ac\u2122s", "'s"),
        ("\u201cquoted\u201d", '"quoted"'),
        ("\u039f\u03a3", "\u03bf\u03c2"),
        ("\ufb01ne", "fine"),
        ("a\ud800b", "a\ufffdb"),
    ],
)
def test_openai_clean(text, cleaned):
    assert openai_clean([text, 7, None]) == [cleaned, 7, None]


def test_words_and_signs():
    assert hf_words(["it's 42 cats!! 'reef"]) == ["it", "'s", "4", "2", "cats", "!!", "'re", "ef"]
    assert openai_words(["!!<|endoftext|> <|endoftext|>'\u017fx"], {}) == [
        "!!<|",
        "endoftext",
        "|>",
        "<|endoftext|>",
        "'\u017f",
        "x",
    ]


def test_signs_in_the_pattern_end_the_words_beside_them():
    assert hf_words(["<|endoftext|>>"]) == ["<|", "endoftext", "|>>"]
    assert hf_words_around_signs(["<|endoftext|>>"]) == ["<|", "endoftext", "|>", ">"]
    read = TextReader("hf", {}, {}, signs_in_pattern=True).pieces
    assert read(["!<|ENDOFTEXT|>>"]) == ["!<|", "endoftext", "|>>"]  # it does not begin with the sign


def test_the_hf_reader_finds_added_tokens_before_words():
    read = TextReader("hf", ADDED, SIGNS).pieces
    assert read(["A<|EndOfText|>b <New><new> birds"]) == ["a", 2, "b", 3, "<", "new", ">", 4, "s"]
    assert read(["<|endoftext|>bird"], split_special_tokens=True) == ["<|", "endoftext", "|>", 4]


def test_the_openai_reader_leaves_the_signs_to_the_pattern():
    read = TextReader("openai", ADDED, SIGNS).pieces
    assert read(["!!<|endoftext|> <|EndOfText|>"]) == ["!!<|", "endoftext", "|>", 2]
    assert read(["A<New>&amp;BIRD"]) == ["a", 3, "&", 4]
    assert read(["<|endoftext|>"], split_special_tokens=True) == ["<|", "endoftext", "|>"]


def test_of_two_tokens_that_are_one_once_cleaned_the_first_is_found():
    reader = TextReader("hf", {7: AddedToken("bird"), 4: AddedToken("Bird")}, {})
    assert reader.pieces(["bird"]) == [4]
    assert [token.content for token in reader.found_tokens] == ["Bird"]


# Added tokens in a text, found as the `tokenizers` library finds them


def found(text, *tokens, **options):
    finder = AddedTokenFinder({token.content: (place, token) for place, token in enumerate(tokens)})
    return finder.split([text], **options)


def test_text_without_tokens_is_one_piece():
    assert found("a b") == ["a b"]
    assert found("", AddedToken("a")) == []


def test_the_longest_of_those_that_begin_first_is_found():
    assert found("xaabc", AddedToken("a"), AddedToken("aab"), AddedToken("bc")) == ["x", 1, "c"]
    assert found("aa", AddedToken("a")) == [0, 0]


def test_special_characters_have_no_meaning():
    assert found("a.b|c", AddedToken("."), AddedToken("|")) == ["a", 0, "b", 1, "c"]


def test_spaces_are_swallowed_where_the_token_says_so():
    assert found("a \u3000<l> b", AddedToken("<l>", lstrip=True)) == ["a", 0, " b"]
    assert found("a <r> \n b", AddedToken("<r>", rstrip=True)) == ["a ", 0, "b"]
    # The token on the left takes the space between both; a separator such as U+001C is not white space.
    assert found("<r> <l>", AddedToken("<l>", lstrip=True), AddedToken("<r>", rstrip=True)) == [1, 0]
    assert found("a\x1c<l>", AddedToken("<l>", lstrip=True)) == ["a\x1c", 0]


def test_single_words_are_not_found_inside_words():
    token = AddedToken("cat", single_word=True)
    assert found("cat concat cats _cat cat-cat \u00e9cat", token) == [0, " concat cats _cat ", 0, "-", 0, " \u00e9cat"]


def test_special_tokens_can_be_read_as_text():
    tokens = AddedToken("<s>", special=True), AddedToken("x")
    assert found("a<s>x", *tokens, split_special_tokens=True) == ["a<s>", 1]
    assert found("a<s>x", *tokens) == ["a", 0, 1]
