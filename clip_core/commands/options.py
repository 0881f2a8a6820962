"""Checks of options that several commands have."""

from __future__ import annotations


def check_least(**options: tuple[int, int]) -> None:
    """Check that integer options are large enough.

    Args:
        **options: the value given and the least one allowed, by the parameter's name.

    Raises:
        ValueError: if a value is too small; the message names the option as typed.
    """
    for name, (value, least) in options.items():
        if value < least:
            raise ValueError(f"--{name.replace('_', '-')} {value}: give an integer of {least} or more")
