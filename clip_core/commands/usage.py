"""Usage errors, which cyclopts detects, worded like the errors of the commands. Internal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
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
        arguments: the command line.
        advice: the end of a message: the likely option or command, or where to look.
    """

    command: str
    app: App
    arguments: list[str]
    advice: str


def usage_error(error: CycloptsError, app: App, arguments: list[str]) -> str:
    """Return the message of a usage error.

    Args:
        error: the error.
        app: the program.
        arguments: the command line.
    """
    names, apps, _ = app.parse_commands(arguments)
    command = " ".join((app.name[0], *names))
    near = re.search(r'"?(\S+?)"?\. Did you mean "?([\w-]+)', _summary(error))
    advice = f"did you mean {near[2]}?" if near and _is_alike(near[1], near[2]) else f"see `{command} --help`"
    return _message(error, _Line(command, apps[-1], arguments, advice))


def _is_alike(typed: str, known: str) -> bool:
    """Return True if a name can be a misspelling of another; cyclopts would take --to for --json."""
    return SequenceMatcher(None, typed.strip("-"), known.strip("-")).ratio() >= _ALIKE


def _summary(error: CycloptsError) -> str:
    return str(getattr(error, "summary", error))


@singledispatch
def _message(error: CycloptsError, _: _Line) -> str:
    return _summary(error)


@_message.register
def _unknown_command(error: UnknownCommandError, line: _Line) -> str:
    typed = (error.unused_tokens or ["?"])[0]
    kind = f"an option of `{line.command}`" if typed.startswith("-") else "a command"
    return f"{typed} is not {kind}; {line.advice}"


@_message.register
def _unknown_option(error: UnknownOptionError, line: _Line) -> str:
    return f"{error.token.keyword or error.token.value} is not an option of `{line.command}`; {line.advice}"


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
        return f"{name} is missing; {line.advice}"
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
