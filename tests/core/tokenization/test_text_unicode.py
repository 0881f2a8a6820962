"""Every byte has a visible character of its own."""

from __future__ import annotations

import unicodedata

import pytest

from clip_core.tokenization import AddedToken
from clip_core.tokenization.fast import CLIPTokenizerFast
from clip_core.tokenization.text import AddedTokenFinder, hf_clean, hf_words
from clip_core.tokenization.vocabulary import BYTE_TO_CHARACTER, CHARACTER_TO_BYTE, to_bytes, to_symbols
from support.vocabulary import write_vocabulary

CHARACTERS = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
# Without most of the insides of the Han and Hangul blocks and of the planes that hold nothing.
VARIED = [
    c
    for c in CHARACTERS
    if not ("\u3500" < c < "\u9f00" or "\uac10" < c < "\ud790" or c > "\U00040000") or not ord(c) % 64
]
MARKS = "\u0334\u0301\u0345"  # of a low, the usual and the highest combining class


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return CLIPTokenizerFast(**write_vocabulary(tmp_path_factory.mktemp("vocabulary"))).backend_tokenizer


def chunks(characters, size=5000):
    return [characters[start : start + size] for start in range(0, len(characters), size)]


def test_every_character_is_cleaned_alike(engine):
    for chunk in chunks(CHARACTERS):
        text = "x".join(chunk)
        assert hf_clean([text]) == [engine.normalizer.normalize_str(text)]


def test_every_decomposition_and_mark_composes_alike(engine):
    parts = {form for c in CHARACTERS if (form := unicodedata.normalize("NFD", c)) != c}
    marks = [c for c in CHARACTERS if unicodedata.category(c) in {"Mn", "Mc", "Cn"} and ord(c) < 0x20000]
    orders = [f"{low}{c}{high}" for c in marks for low, high in (MARKS[:2], MARKS[2:0:-1])]
    for chunk in chunks(sorted(parts) + orders):
        text = "x".join(chunk)
        assert hf_clean([text]) == [engine.normalizer.normalize_str(text)]


def test_words_are_split_alike_at_every_character(engine):
    for chunk in chunks(VARIED):
        # Between a letter and a sign, the character shows which of the two it is.
        text = "".join(f"{c}a{c}!" for c in chunk)
        words = [text[start:end] for _, (start, end) in engine.pre_tokenizer.pre_tokenize_str(text)]
        assert hf_words([text]) == words


def test_single_words_end_alike_at_every_character(tmp_path):
    fast = CLIPTokenizerFast(**write_vocabulary(tmp_path))
    token = AddedToken("ZZ", single_word=True, normalized=False)
    fast.add_tokens(token)
    zz = fast.convert_tokens_to_ids("ZZ")
    finder = AddedTokenFinder({"ZZ": (zz, token)})
    for chunk in chunks(VARIED, 20000):
        text = "".join(f"{c}ZZ-" for c in chunk)
        encoding = fast.backend_tokenizer.encode(text, add_special_tokens=False)
        theirs = [start for token_id, (start, _) in zip(encoding.ids, encoding.offsets, strict=True) if token_id == zz]
        ours, place = [], 0
        for piece in finder.split([text]):
            if piece == zz:
                ours.append(place)
            place += len(piece) if isinstance(piece, str) else 2
        assert ours == theirs


def test_every_byte_has_one_visible_character():
    assert sorted(BYTE_TO_CHARACTER) == list(range(256))
    assert len(CHARACTER_TO_BYTE) == 256
    assert not any(character.isspace() for character in CHARACTER_TO_BYTE)
    assert list(BYTE_TO_CHARACTER)[:3] == [ord("!"), ord('"'), ord("#")]  # the order of OpenAI's ids


def test_text_becomes_symbols_and_comes_back():
    assert to_symbols("a!\u00e9 ") == "a!\u00c3\u00a9\u0120"
    assert to_bytes(to_symbols("a \U0001f600\n\x00")).decode() == "a \U0001f600\n\x00"


def test_a_token_with_other_characters_is_plain_text():
    assert to_bytes("<a b>").decode() == "<a b>"
    assert to_bytes("\u4e2d").decode() == "\u4e2d"
