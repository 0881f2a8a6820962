"""The alphabet of a byte-level byte-pair encoding, and the characters on which Unicode versions differ.

Each byte is written as one visible character, so that a token is a string without white space; a token that ends a word
ends in `</w>`. Python and the `tokenizers` library know different versions of Unicode; the tables make both tokenizers
read every text alike.
"""

from __future__ import annotations


def _ranges(text: str) -> str:
    """Return the content of a character class, `[...]`, of a regular expression."""
    bounds = [[f"\\U{int(end, 16):08x}" for end in part.split("-")] for part in text.split()]
    return "".join("-".join(pair) for pair in bounds)


# Letters, numbers and marks that Unicode gained after 16: to the library they are symbols.
LATE_WORD_CHARACTERS = _ranges(
    "558 58B-58C 5C8-5C9 88F B53-B54 C5C CDC 1ACF-1AF0 208F 209D-209F A7CE-A7CF A7D2 A7D4 A7DD A7E2 A7F1 "
    "AB6C-AB6D 107BB-107BF 10940-10959 10EC5-10EC7 10ECB-10ECF 10ED9-10EEE 10EF0-10EFB 11B0A 11B60-11B67 "
    "11DB0-11DDB 11DE0-11DE9 11DF0-11DF1 1246F 12475-1247F 12550-12686 16EA0-16EB8 16EBB-16ED3 16FF2-16FF6 "
    "187F8-187FF 18CD6-18CDA 18D09-18D20 18D80-18DF2 18E00-19191 191A0-191D2 1B123-1B128 1B168 1D127-1D128 "
    "1D250-1D252 1D25B-1D25C 1D25F 1D280-1D281 1D6A6 1DF1F-1DF24 1DF2B-1DF81 1DF90-1DF96 1DFCD-1DFFF 1E6C0-1E6DE "
    "1E6E0-1E6F5 1E6FE-1E6FF 2B73A-2B73F 2B81E 2CEA2-2CEAD 323B0-33479 3D000-3FC3F"
)

# Combining marks and composites that Unicode gained after 9: the library neither reorders nor composes them.
INERT_IN_NFC = _ranges(
    "5C8-5C9 7FD 897-89F 8CA-8D3 9FE C3C D3B-D3C EBA 1715 1ABF-1AF0 1DF6-1DFA A82C 105C0-105FF 10D24-10D27 "
    "10D69-10D6D 10EAB-10EAC 10ECB-10ECF 10EF0-10EFB 10EFD-10EFF 10F46-10F50 10F82-10F85 11070 1133B 11380-113FF "
    "1145E 11839-1183A 11930-11938 1193D-1193E 11943 119E0 11A34 11A47 11A99 11D42 11D44-11D45 11D97 11F41-11F42 "
    "16100-1613F 16D40-16D7F 16FF0-16FF1 1D127-1D128 1D250-1D252 1D25B-1D25C 1D25F 1D280-1D281 1E08F 1E130-1E136 "
    "1E2AE 1E2EC-1E2EF 1E4EC-1E4EF 1E5EE-1E5EF 1E6E3 1E6E6 1E6EE-1E6EF 1E6F5"
)

# Capitals that Unicode gained after 14 (Python 3.11), with their small letters.
_PAIRS = "1C89:1C8A A7CB:0264 A7CC:A7CD A7CE:A7CF A7D2:A7D3 A7D4:A7D5 A7DA:A7DB A7DC:019B"
LATE_LOWER_CASE = {int(pair[:4], 16): int(pair[5:], 16) for pair in _PAIRS.split()}
LATE_LOWER_CASE |= {capital: capital + 0x20 for capital in range(0x10D50, 0x10D66)}
LATE_LOWER_CASE |= {capital: capital + 0x1B for capital in range(0x16EA0, 0x16EB9)}

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
