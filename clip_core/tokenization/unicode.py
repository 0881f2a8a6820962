"""The alphabet of a byte-level byte-pair encoding: each byte is one visible character, and `</w>` ends a word."""

from __future__ import annotations

# Characters with the property White_Space, unchanged since Unicode 6.3.
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"

END_OF_WORD = "</w>"
START_OF_TEXT = "<|startoftext|>"
END_OF_TEXT = "<|endoftext|>"


def _visible_bytes() -> dict[int, str]:
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + place) for place, byte in enumerate(hidden)}


# In the order of OpenAI's vocabulary, which starts with the bytes that are visible characters themselves.
BYTE_TO_CHARACTER = _visible_bytes()
CHARACTER_TO_BYTE = {character: byte for byte, character in BYTE_TO_CHARACTER.items()}
_OF_LATIN_1 = {byte: ord(character) for byte, character in BYTE_TO_CHARACTER.items()}


def to_symbols(text: str) -> str:
    """Return the UTF-8 bytes of a text, each written as its character."""
    return text.encode("utf-8").decode("latin-1").translate(_OF_LATIN_1)


def to_bytes(token: str) -> bytes:
    """Return the bytes that a token represents; a token with other characters is treated as plain text."""
    try:
        return bytes([CHARACTER_TO_BYTE[character] for character in token])
    except KeyError:
        return token.encode("utf-8")


def check_surrogates(text: str) -> None:
    """Raise a ValueError if the text contains half of a surrogate pair, which cannot be encoded."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text {text[:40]!r} contains half of a surrogate pair at character {error.start} "
            f"(U+{ord(text[error.start]):04X}); decode it with errors='replace' first"
        ) from error
