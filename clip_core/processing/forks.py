"""Threads of the `tokenizers` library in child processes. Importing this prepares all forks. Internal."""

from __future__ import annotations

import os

PARALLELISM = "TOKENIZERS_PARALLELISM"  # the library's variable: "false" for one thread
_settings: list[str | None] = []  # the values before each unfinished fork


def _before_fork() -> None:
    """Make the child encode in one thread unless the user set the variable, because threads do not survive a fork."""
    _settings.append(os.environ.get(PARALLELISM))
    os.environ.setdefault(PARALLELISM, "false")


def _after_fork() -> None:
    if _settings.pop() is None:
        del os.environ[PARALLELISM]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork)
