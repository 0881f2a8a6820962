"""Texts from files in messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from clip_core.hub.printing import LONGEST_REASON, SHOWN_CHARACTERS, counted, path_from_here, printable, shortened


def test_a_long_value_is_shown_by_its_beginning():
    whole = "x" * SHOWN_CHARACTERS
    assert shortened(whole) == whole
    assert shortened(whole + "y") == f"{whole}..."
    assert shortened(Path("a/b.png")) == "a/b.png"
    assert shortened("\0" * 30) == ("\\x00" * 30)[:SHOWN_CHARACTERS] + "..."  # escapes count, too


def test_a_number_has_its_noun():
    assert [counted(count, "image") for count in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
    assert [counted(count, "class", "classes") for count in (1, 2)] == ["1 class", "2 classes"]


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
        ("می\u200cخواهم\u3000👩\u200d🚀\xa0\n", "می\u200cخواهم\u3000👩\u200d🚀\xa0\\n"),  # noqa: RUF001
    ],
)
def test_characters_that_a_terminal_would_obey_are_escaped(text, shown):
    assert printable(text) == shown


def test_a_path_inside_the_current_folder_is_shown_relative_to_it(tmp_path, monkeypatch):
    image = tmp_path / "photos" / "a.png"
    monkeypatch.chdir(tmp_path)
    assert path_from_here(image) == "photos/a.png"
    assert path_from_here("photos/a.png") == "photos/a.png"
    monkeypatch.chdir(tmp_path.parent)
    assert path_from_here(image) == f"{tmp_path.name}/photos/a.png"
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path / "photos")
    assert path_from_here(tmp_path / "b.png") == str(tmp_path / "b.png")
    assert path_from_here(f"{tmp_path}/photos/caf\udce9.png") == "caf\ufffd.png"
    assert path_from_here(f"{tmp_path}/photos/\x1b[31m\n.png") == "\\x1b[31m\\n.png"
    assert path_from_here("\x1b" * 4000) == "\\x1b" * 4000
