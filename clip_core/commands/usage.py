"""Usage errors, which cyclopts detects, worded like the errors of the commands. Internal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import singledispatch
from typing import TYPE_CHECKING, Any, get_args

from cyclopts import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
    ValidationError,
)

if TYPE_CHECKING:
    from cyclopts import App

_ALIKE = 0.6  # the share of letters that a misspelled name has in common with the right one
_KINDS = {int: "an integer", float: "a number", bool: "true or false"}


@dataclass
class _Line:
    """A command line with an error.

    Attributes:
        command: the command, such as "clip-zoo evaluate probe".
        app: the same, as cyclopts has it.
        arguments: the words after the command.
        advice: the end of a message: the likely command, or where to look.
    """

    command: str
    app: App
    arguments: list[str]
    advice: str

    @property
    def options(self) -> list[str]:
        """All options of the command, and their other names."""
        arguments = self.app.assemble_argument_collection() if self.app.default_command else ()
        names = (name for argument in arguments for name in argument.names if name.startswith("-"))
        return [*names, *self.app.help_flags, *self.app.version_flags]

    def advice_on(self, typed: str) -> str:
        """Return the end of a message about an option: the one that was probably meant, or where to look."""
        known = {name.strip("-"): name for name in self.options if name.startswith("--")}
        word = typed.strip("-").replace("_", "-").lower()
        near = get_close_matches(word, known, n=1, cutoff=_ALIKE) if len(word) > 1 else []
        return f"did you mean {known[near[0]]}?" if near else self.advice

    def unknown(self) -> str | None:
        """Return the first word that can only be an option, and is not one of this command."""
        words = self.arguments[: self.arguments.index("--")] if "--" in self.arguments else self.arguments
        names = (word.partition("=")[0] for word in words if re.match(r"--?[A-Za-z]", word))
        return next((name for name in names if name.replace("_", "-") not in self.options), None)


def usage_error(error: CycloptsError, app: App, arguments: list[str]) -> str:
    """Return the message of a usage error.

    Args:
        error: the error.
        app: the program.
        arguments: the command line.
    """
    names, apps, rest = app.parse_commands(arguments)
    command = " ".join((app.name[0], *(name for name in names if not name.startswith("-"))))
    near = re.search(r'Unknown command "?(\S+?)"?\. Did you mean "?([\w-]+)', _summary(error))
    is_alike = near is not None and bool(get_close_matches(near[1], [near[2]], cutoff=_ALIKE))
    advice = f"did you mean {near[2]}?" if near and is_alike else f"see `{command} --help`"
    return _message(error, _Line(command, apps[-1], list(rest), advice))


def _summary(error: CycloptsError) -> str:
    return str(getattr(error, "summary", error))


@singledispatch
def _message(error: CycloptsError, _: _Line) -> str:
    return _summary(error)


@_message.register
def _unknown_command(error: UnknownCommandError, line: _Line) -> str:
    typed = (error.unused_tokens or ["?"])[0]
    return _no_option(typed, line) if typed.startswith("-") else f"{typed} is not a command; {line.advice}"


@_message.register
def _unknown_option(error: UnknownOptionError, line: _Line) -> str:
    return _no_option(error.token.keyword or error.token.value, line)


def _no_option(typed: str, line: _Line) -> str:
    return f"{typed} is not an option of `{line.command}`; {line.advice_on(typed)}"


@_message.register
def _repeated(error: RepeatArgumentError, _: _Line) -> str:
    return f"{error.token.keyword} is given more than once; give it once"


@_message.register
def _unexpected(error: UnusedCliTokensError, line: _Line) -> str:
    words = [argument for argument in line.app.assemble_argument_collection() if argument.index is not None]
    known = " ".join(argument.names[0] for argument in words) or "only options"
    advice = " before its options" if any(argument.token_count()[1] for argument in words) else ""
    return f"unexpected: {' '.join(map(repr, error.unused_tokens or []))}; `{line.command}` takes {known}{advice}"


@_message.register
def _wrong_type(error: CoercionError, _: _Line) -> str:
    if error.token is None or error.argument is None:
        return _summary(error)
    typed = f"{error.token.keyword or error.argument.names[0]} {error.token.value}"
    return f"{typed} {error.msg or f'is not {_wanted(error.argument.hint)}'}"


@_message.register
def _invalid(error: ValidationError, line: _Line) -> str:
    if error.argument is None:
        return _summary(error)
    return f"{error.argument.names[0]} {error.exception_message}; {line.advice}"


@_message.register
def _missing(error: MissingArgumentError, line: _Line) -> str:
    if error.argument is None:
        return _summary(error)
    name = error.argument.names[0]
    places = [place for place, word in enumerate(line.arguments) if word.partition("=")[0] == name]
    if not places:
        # Cyclopts looks for what is missing before it looks for misspelled options, of which this may be one.
        unknown = line.unknown()
        return f"{name} is missing; {line.advice}" if unknown is None else _no_option(unknown, line)
    following = "".join(line.arguments[places[0] + 1 : places[0] + 2])
    if following.startswith("-") and not following.startswith("--"):
        return f"{name} has no value, because {following} starts with a dash; type {name}={following} to give it"
    return f"{name} has no value; {line.advice}"


def _wanted(hint: Any) -> str:
    """Return a description of the values of an option, given its type."""
    leaves = [hint]
    while parts := [part for leaf in leaves for part in get_args(leaf)]:
        leaves = [leaf for leaf in leaves if not get_args(leaf)] + parts
    choices = [leaf for leaf in leaves if isinstance(leaf, str)]
    if choices:
        return f"one of {', '.join(choices)}"
    return next((_KINDS[leaf] for leaf in leaves if leaf in _KINDS), "valid")
