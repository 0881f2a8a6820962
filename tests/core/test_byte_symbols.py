"""Every byte has a visible character of its own."""

from __future__ import annotations

from clip_core.byte_symbols import BYTE_TO_CHARACTER, CHARACTER_TO_BYTE, to_bytes, to_symbols


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
