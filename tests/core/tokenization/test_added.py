"""Added tokens are taken in any form, and found in a text as the `tokenizers` library finds them."""

from __future__ import annotations

import pytest
import tokenizers

from clip_core.tokenization.added import AddedToken, AddedTokenFinder, as_added_token, as_dict
from clip_core.tokenization.unicode import check_surrogates
from support.messages import naming


def found(text, *tokens, **options):
    finder = AddedTokenFinder({token.content: (place, token) for place, token in enumerate(tokens)})
    return list(finder.split(text, **options))


def test_normalized_is_by_default_what_is_not_special():
    assert AddedToken("a").normalized
    assert not AddedToken("a", special=True).normalized
    assert AddedToken("a", special=True, normalized=True).normalized


@pytest.mark.parametrize("given", [{}, {"normalized": True}, {"normalized": False}, {"lstrip": True, "special": True}])
@pytest.mark.parametrize("special", [False, True])
def test_a_token_is_copied_and_normalized_follows_special_unless_given(given, special):
    token = tokenizers.AddedToken("<x>", **given)
    made = as_added_token(token, special=special)
    is_special = special or given.get("special", False)
    assert as_dict(made) == as_dict(AddedToken("<x>", **{"normalized": not is_special, **given, "special": is_special}))
    assert made is not token
    assert token.special == given.get("special", False)  # it stays as it was


def test_the_class_is_that_of_the_library():
    assert AddedToken is tokenizers.AddedToken


def test_strings_and_dicts_are_taken():
    assert as_added_token("x") == AddedToken("x")
    assert as_added_token("x", special=True) == AddedToken("x", special=True, normalized=False)
    assert as_added_token("x", special=True, normalized=True) == AddedToken("x", special=True, normalized=True)
    saved = {"__type": "AddedToken", "content": "x", "lstrip": True, "normalized": True}
    assert as_added_token(saved, special=True) == AddedToken("x", lstrip=True, normalized=True, special=True)
    assert as_added_token(as_dict(AddedToken("x"))) == AddedToken("x")


@pytest.mark.parametrize("value", [None, 3, {"token": "x"}, ["x"]])
def test_anything_else_is_no_token(value):
    with pytest.raises(TypeError, match=naming(str, "AddedToken", repr(value))):
        as_added_token(value)


def test_half_a_surrogate_pair_is_named_with_its_place():
    with pytest.raises(ValueError, match=naming(2, "U+D83D", "errors='replace'")):
        check_surrogates("ab\ud83d")
    with pytest.raises(ValueError, match=naming("surrogate", 0, "U+DC00")):
        as_added_token("\udc00")


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
