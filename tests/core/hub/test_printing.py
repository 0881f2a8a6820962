"""Texts from files in messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from clip_core.hub.printing import LONGEST_REASON, SHOWN_CHARACTERS, printable, shortened


def test_a_long_value_is_shown_by_its_beginning():
    whole = "x" * SHOWN_CHARACTERS
    assert shortened(whole) == whole
    assert shortened(whole + "y") == f"{whole}..."
    assert shortened(Path("a/b.png")) == "a/b.png"


def test_a_long_reason_is_cut():
    assert printable("x" * 10**6) == "x" * LONGEST_REASON + "..."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a cat", "a cat"),
        ("eine Straße, 東京", "eine Straße, 東京"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\r\x07", "a\\nb\\r\\x07"),
        ("\u202eabc", "\\u202eabc"),
        ("\ud800", "\\ud800"),
        ("\x9b1m", "\\x9b1m"),
    ],
)
def test_characters_that_a_terminal_would_obey_are_escaped(text, shown):
    assert printable(text) == shown
