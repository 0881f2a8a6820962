"""Requirements on messages: the names and values in them, in any order, but not the wording."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def naming(*things: object) -> str:
    r"""Return a pattern for `match=` that matches a message in which each of `things` appears as a whole word.

    A class counts by its name and anything else by its `str`, so a value that a message quotes is given as its `repr`.
    Neither a longer word nor a longer number holds a shorter one: `8` is not found in `80`, `v8` or `1.8`.

    >>> import re
    >>> bool(re.search(naming("max_length", 77), "77 tokens\nis not a max_length"))
    True
    >>> bool(re.search(naming(7), "77 tokens"))
    False
    """
    return r"(?s)\A" + "".join(rf"(?=.*{_alone(thing)})" for thing in things)


def mentions(message: str, *things: object) -> bool:
    """Return True if each of `things` appears as a whole word in a message, as in `naming`."""
    return re.search(naming(*things), message) is not None


def _alone(thing: object) -> str:
    text = thing.__name__ if isinstance(thing, type) else str(thing)
    before = r"(?<!\w)" if re.match(r"\w", text) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", text) else ""
    if text[:1].isdigit():
        before += r"(?<!\d\.)"
    if text[-1:].isdigit():
        after += r"(?!\.\d)"
    return before + re.escape(text) + after


def refused_line(run: Callable[..., tuple[int, str, str]], *command: object) -> str:
    """Run a command that is refused, and return its line without the program's name."""
    code, out, err = run(*command)
    assert (code, out) == (2, ""), err
    assert err.count("\n") == 1, err
    assert len(err) < 1000, err
    return err.removeprefix("clip-zoo: ").rstrip("\n")
