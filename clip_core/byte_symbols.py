"""Bytes as visible characters: the alphabet of a byte-level byte-pair encoding.

Each byte is written as one character, so that a token is a string without white space; a token that ends a word ends
in `</w>`.
"""

from __future__ import annotations

END_OF_WORD = "</w>"
START_OF_TEXT = "<|startoftext|>"
END_OF_TEXT = "<|endoftext|>"


def _visible_bytes() -> dict[int, str]:
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + place) for place, byte in enumerate(hidden)}


# In the order of OpenAI's vocabulary: first the bytes that are visible as they are.
BYTE_TO_CHARACTER = _visible_bytes()
CHARACTER_TO_BYTE = {character: byte for byte, character in BYTE_TO_CHARACTER.items()}


_OF_LATIN_1 = {byte: ord(character) for byte, character in BYTE_TO_CHARACTER.items()}


def to_symbols(text: str) -> str:
    """The UTF-8 bytes of a text, each as its character."""
    return text.encode("utf-8").decode("latin-1").translate(_OF_LATIN_1)


def to_bytes(token: str) -> bytes:
    """The bytes that a token stands for; a token with other characters is taken as plain text."""
    try:
        return bytes([CHARACTER_TO_BYTE[character] for character in token])
    except KeyError:
        return token.encode("utf-8")
