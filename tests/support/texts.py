"""Texts that are hard for tokenizers: pieces to draw from, and reproducible lines of them."""

from __future__ import annotations

import random

SIGNS = ["<|startoftext|>", "<|endoftext|>", "<|STARTOFTEXT|>", "<|EndOfText|>", "<|endoftext", "<|", "|>", "</w>"]
CONTRACTIONS = ["'s", "'S", "'t", "'Re", "'VE", "'m", "'LL", "'d", "\u2019s", "'\u017f", "''s", "don't", "O'CLOCK'S"]
HTML = [
    "&amp;",
    "&lt;b&gt;",
    "&amp;lt;",
    "&amp;amp;#39;",
    "&#x1F600;",
    "&#769;",
    "&nbsp;",
    "&eacute;",
    "&nosuch;",
    "<br/>",
]
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u3000", "\u2028", "\x85", "\x0b"]
INVISIBLE = ["\x00", "\x07", "\x1b", "\x1c", "\x7f", "\xad", "\u200b", "\u200d", "\u202e", "\ufe0f", "\ufeff", "\ufffd"]
EMOJI = [
    "\U0001f600",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "\U0001f3f3\ufe0f\u200d\U0001f308",
    "\U0001f44d\U0001f3fd",
    "\U0001f1eb\U0001f1f7",
    "1\ufe0f\u20e3",
]
SCRIPTS = [
    "\u4e2d\u6587\u5b57\u7b26",
    "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8",
    "\ud55c\uad6d\uc5b4",
    "\u1112\u1161\u11ab",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0651\u0629",
    "\u0939\u093f\u0928\u094d\u0926\u0940",
    "\u0395\u039b\u039b\u0397\u039d\u0399\u039a\u039f\u03a3",
    "\u0420\u0443\u0441\u0441\u043a\u0438\u0439",
    "\u05e2\u05d1\u05e8\u05d9\u05ea",
    "\u0e44\u0e17\u0e22",
    "\u10d0\u10d1\u10d2",
    "\u0130stanbul",
    "Stra\xdfe",
    "\ufb01ne",
    "\u01c5",
]
MARKS = [
    "e\u0301",
    "\u00e9",
    "o\u0328\u0301",
    "o\u0301\u0328",
    "\u0301",
    "\u0316\u0301",
    "\u0301\u0316",
    "\u0345",
    "\u212b",
    "\u1e9b\u0323",
]
# Characters for which Python and the `tokenizers` library have other tables.
UNEVEN = [
    "\u08d3",
    "a\u0301\u08d3\u0316",
    "\U00011935\U00011930",
    "\U000105d2\u0307",
    "\U0001e130",
    "\U00010d50",
    "\u1c89",
    "\ua7cb",
    "a\U000323b0b",
    "\U00016ea0",
    "\u088f",
    "\U0003134a",
]
NUMBERS = ["0", "42", "3.14", "1,000", "\u0967\u0968", "\u2167", "\xbd", "\xb2", "\u0663", "\U0001d7d8", "\u4e09"]
PUNCTUATION = [
    "!",
    "!!",
    "!?",
    "...",
    "--",
    "\u2014",
    "#",
    "@",
    "~~",
    "(",
    ")",
    "\u3002",
    "\u201c",
    "\xbf",
    "$",
    "\xa9",
]
MOJIBAKE = ["\xe2\x80\x99", "\xc3\xa9", "\u00e2\u20ac\u2122", "na\xc3\xafve"]
WORDS = [
    "a",
    "photo",
    "of",
    "the",
    "Cat",
    "DOG",
    "hello",
    "World",
    "running",
    "supercalifragilisticexpialidocious",
    "x",
]

PIECES = [
    *SIGNS,
    *CONTRACTIONS,
    *HTML,
    *SPACES,
    *INVISIBLE,
    *EMOJI,
    *SCRIPTS,
    *MARKS,
    *UNEVEN,
    *NUMBERS,
    *PUNCTUATION,
    *MOJIBAKE,
    *WORDS,
]

_BLOCKS = [(0x20, 0x7F), (0, 0x250), (0x300, 0x370), (0x370, 0x3000), (0x3000, 0xD800), (0xE000, 0x20000), (0, 0xD800)]


def corpus(lines: int = 3000, *, extra: tuple[str, ...] = (), seed: int = 0) -> list[str]:
    """Return lines of mixed text; the first ones are a single piece, one is empty, and two are very long.

    Args:
        lines: how many.
        extra: pieces to mix in, such as added tokens.
        seed: other lines for another number.
    """
    draw = random.Random(seed)  # noqa: S311  no secret
    pieces = [*PIECES, *extra * 4]
    texts = ["", *pieces, "ab" * 2000, "Hello, world! " * 200]
    while len(texts) < lines:
        line = []
        for _ in range(draw.randint(1, 9)):
            if draw.random() < 0.25:
                line.append(chr(draw.randrange(*draw.choice(_BLOCKS))))
            else:
                line.append(draw.choice(pieces))
            if draw.random() < 0.3:
                line.append(" ")
        texts.append("".join(line))
    return texts[:lines]
