"""Command lines of this folder's programs: bad input is answered in one line on stderr, with exit code 2."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, NoReturn

from clip_core.commands.interruption import run_interruptibly
from clip_core.commands.streams import run_program

if TYPE_CHECKING:
    from collections.abc import Callable

BAD_INPUT = 2


class Parser(argparse.ArgumentParser):
    """A parser that does not print its usage before an error."""

    def error(self, message: str) -> NoReturn:
        """Exit with the message alone."""
        self.exit(BAD_INPUT, f"{self.prog}: {message}\n")


def answered(program: Callable[[], None], name: str) -> int:
    """Run a program; return 0, or `BAD_INPUT` after printing the error that the input caused.

    Args:
        program: the program.
        name: its name, for the message.
    """
    try:
        program()
    except (ImportError, OSError, ValueError) as error:
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT
    return 0


def run(main: Callable[[], int], name: str) -> NoReturn:
    """Run a program as a command: SIGINT and SIGTERM end it without a traceback, a closed pipe without an error.

    Args:
        main: returns the exit code.
        name: the program's name, for messages.
    """
    sys.exit(run_interruptibly(lambda: run_program(main, name), until_exit=True))


def number(kind: type[int | float], least: float, *, above: bool = False) -> Callable[[str], int | float]:
    """Return a function that reads an option's number.

    Args:
        kind: int or float.
        least: the least number allowed.
        above: allow only larger ones than `least`.
    """

    def read(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not (value > least if above else value >= least) or value == float("inf"):
            wanted = "an integer" if kind is int else "a number"
            raise argparse.ArgumentTypeError(
                f"{text!r} is not {wanted} {'above' if above else 'of at least'} {least:g}"
            )
        return value

    return read
