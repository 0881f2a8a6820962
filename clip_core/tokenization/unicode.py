"""The alphabet of a byte-level byte-pair encoding.

Each byte is written as one visible character, so that a token is a string without white space; a token that ends a word
ends in `</w>`.
"""

from __future__ import annotations

# The property White_Space, which has not changed since Unicode 6.3.
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"

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
    """Return the UTF-8 bytes of a text, each as its character."""
    return text.encode("utf-8").decode("latin-1").translate(_OF_LATIN_1)


def to_bytes(token: str) -> bytes:
    """Return the bytes that a token stands for; a token with other characters is taken as plain text."""
    try:
        return bytes([CHARACTER_TO_BYTE[character] for character in token])
    except KeyError:
        return token.encode("utf-8")


def check_surrogates(text: str) -> None:
    """Raise a ValueError if the text holds half of a surrogate pair, which no encoding can write."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text {text[:40]!r} holds half of a surrogate pair at character {error.start} "
            f"(U+{ord(text[error.start]):04X}); decode it with errors='replace' first"
        ) from error
