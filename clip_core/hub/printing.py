"""Texts from files as messages print them: short, and on one line."""

from __future__ import annotations

import os
import signal
import unicodedata
from pathlib import Path

SHOWN_CHARACTERS = 80  # of a value in a message
LONGEST_REASON = 500  # of another error's message
LONGEST_PATH = 16_384  # four times that of Linux: an escape may have four characters
_JOINERS = "\u200c\u200d"


def shortened(value: object) -> str:
    """Return a text or path as error messages show it: its first 80 characters.

    Args:
        value: the text or path.
    """
    return printable(value, SHOWN_CHARACTERS)


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, as in "1 image" or "2 images".

    Args:
        count: the number.
        noun: the noun, in the singular.
        plural: its plural, if that is not an added "s".
    """
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def printable(value: object, most: int = LONGEST_REASON) -> str:
    """Return a text from a file as messages print it: on one line, cut, with control characters escaped.

    A terminal would obey control characters; format characters can reverse the rest of a line.

    Args:
        value: the text, path or error.
        most: the number of characters to keep, those of escapes included.
    """
    text = str(value)
    shown = text[:most]
    if not shown.isprintable():
        shown = "".join(one if one.isprintable() or _is_harmless(one) else repr(one)[1:-1] for one in shown)
    return f"{shown[:most]}..." if len(text) > most or len(shown) > most else shown


def _is_harmless(character: str) -> bool:
    """Return True for a space, and for the joiners that Persian, Hindi and emoji are written with."""
    return character in _JOINERS or unicodedata.category(character) == "Zs"


def path_from_here(path: str | os.PathLike[str]) -> str:
    """Return a path as tables show it: relative to the current folder if it lies inside, otherwise as it is.

    Args:
        path: the path; it becomes valid text, with control characters escaped.
    """
    here = Path.cwd()
    place = Path(path)
    shown = place.relative_to(here) if place.is_relative_to(here) else place
    return printable(valid_text(shown), LONGEST_PATH)


def valid_text(name: str | os.PathLike[str]) -> str:
    """Return a file name, or a text that contains one, as valid text; file names may contain other bytes.

    Args:
        name: the name; bytes that are not UTF-8 become replacement characters.
    """
    return os.fsencode(name).decode(errors="replace")


def signal_name(number: int) -> str:
    """Return the name of a signal, such as SIGSEGV.

    Args:
        number: its number.
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def reason_of(error: OSError) -> str:
    """Return the reason of an error of the operating system, such as "permission denied", without number and file.

    Args:
        error: the error.
    """
    if isinstance(error, IsADirectoryError) and error.strerror:
        return "a folder; give a file"
    reason = error.strerror or str(error) or type(error).__name__
    return reason if reason[:2].isupper() else f"{reason[:1].lower()}{reason[1:]}"
