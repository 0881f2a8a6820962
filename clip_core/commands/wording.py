"""Error messages in the words of the command line: options instead of the library's arguments."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from clip_core.commands.options import LONG_DTYPES
from clip_core.hub.printing import reason_of, shortened
from clip_core.hub.targets import expanded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cyclopts import App

# The library's name of an argument -> a command's name for it. An option that has the library's name takes precedence.
_OTHER_NAMES = {"device_map": "device", "caption_column": "label_column", "labels": "labels_file"}

# Marks a path on this machine in an annotation; arguments of type Path need no mark.
LOCAL = "a path on this machine"

# A value as messages write it after `name=`; and advice to pass an argument, as in "pass token=..." or "Pass a=True".
_QUOTED = r"'[^']*'|\"[^\"]*\""
_NUMBER = r"-?(?:\d[\w.+-]*\w|\d|inf|nan)(?!\w)"
_VALUE = rf"\.\.\.|{_QUOTED}|\[[^\]]*\]|{_NUMBER}|(?:None|True|False)\b"
_HINT = rf"[Pp]ass [a-z]\w*=(?:{_VALUE}|\w+)"


@dataclass
class Options:
    """The options of a command, and the values typed for them.

    Attributes:
        option_of: the option for each argument of the library.
        typed: the options and values on the command line, in order.
        words: the positional arguments by their names in the help, such as SRC, and their values, in order. The last
            one may take several.
        names: all options of the command.
        required: the options that it needs.
        local: the options and positional arguments that take a path on this machine.
    """

    option_of: dict[str, str] = field(default_factory=dict)
    typed: list[tuple[str, str]] = field(default_factory=list)
    words: list[tuple[str, str]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    required: set[str] = field(default_factory=set)
    local: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, app: App, arguments: list[str]) -> Options:
        """Read the options of the command in a command line; empty if it names no command.

        Args:
            app: the program.
            arguments: the command line.
        """
        try:
            _, apps, rest = app.parse_commands(arguments)
            known = list(apps[-1].assemble_argument_collection())
        except (ValueError, ImportError, NameError):  # no command, one of cyclopts itself, or a module that is missing
            return cls()
        options = [argument for argument in known if _is_option(argument.names[0])]
        positional = [argument for argument in known if argument.index is not None]
        option_of = {argument.field_info.name: argument.names[0] for argument in options}
        for name, other in _OTHER_NAMES.items():
            if other in option_of:
                option_of.setdefault(name, option_of[other])
        # The library takes several where the command repeats an option.
        option_of = {f"{name}s": option for name, option in option_of.items()} | option_of
        counts = {argument.names[0]: argument.token_count() for argument in options}
        option_of |= {argument.field_info.name: argument.names[0] for argument in positional}
        typed = list(_typed(rest, counts))
        names = [argument.names[0] for argument in positional]
        words = [value for option, value in typed if not option]
        names += names[-1:] * (len(words) - len(names))
        return cls(
            option_of,
            [(option, value) for option, value in typed if option],
            list(zip(names, words, strict=False)),
            {argument.names[0] for argument in options},
            {argument.names[0] for argument in options if argument.required},
            {argument.names[0] for argument in known if _is_local(argument.field_info.annotation)},
        )

    @property
    def words_of_paths(self) -> list[tuple[str, str]]:
        """The positional arguments that are not texts, and their values."""
        return [(name, value) for name, value in self.words if "TEXT" not in name]

    @property
    def paths(self) -> list[tuple[str, str]]:
        """The options and these arguments, and their values."""
        return [*self.typed, *self.words_of_paths]

    def value_of(self, option: str) -> str | None:
        """Return the value typed for an option; None if it was not typed, or typed several times."""
        values = self.values_of(option)
        return values[0] if len(values) == 1 else None

    def values_of(self, option: str) -> list[str]:
        """Return the values typed for an option or a positional argument, in order."""
        return [value for name, value in (*self.typed, *self.words) if name == option]


def message_of(error: Exception) -> str:
    """Return an error's message, or its summary in one line if it has one.

    For an error of the operating system, return the file and the reason without the number.

    Args:
        error: any error but one of usage.
    """
    if not isinstance(error, OSError) or error.strerror is None or not isinstance(error.errno, int):
        return str(getattr(error, "summary", error))
    if error.errno == errno.ENAMETOOLONG and error.filename is not None:
        longest = max(Path(os.fsdecode(error.filename)).parts, key=len)
        return f"'{shortened(longest)}' is too long for a file name; give a shorter one"
    return reason_of(error) if error.filename is None else f"{os.fsdecode(error.filename)}: {reason_of(error)}"


def in_options(message: str, options: Options) -> str:
    """Return an error message with options instead of the library's arguments, and with the option at fault.

    Advice to pass an argument is removed if the command has no option for it.

    Args:
        message: the message.
        options: the options of the command that was called.
    """
    for name, option in options.option_of.items():
        message = re.sub(rf"(?<![\w./'\"=-]){name}=({_VALUE})", _assignment(option, options), message)
        message = re.sub(rf"(?<![\w./'\"=-]){name}\[(\d+)\]", _item(option, options), message)
        if "_" in name:  # a single word is more likely to be English than an argument
            message = re.sub(rf"(?<![\w./'\"=-]){name}(?![\w/'\"=-]|\.\w)", option, message)
    message = _without_hints(message)
    is_named = any(re.search(rf"(?<!\S){option}(?![\w-])", message) for option, _ in options.typed)
    starts = (f"{name} {shown}" for name, value in options.words for shown in (value, repr(value), str(Path(value))))
    if is_named or message.startswith(tuple(starts)):
        return _without_echo(message, options.paths)
    # Options first: a message about a value of --subfolder starts with the folder that it belongs to.
    blamed = _blaming(message, options.typed)
    blamed = _blaming(message, options.words_of_paths) if blamed == message else blamed
    return _without_echo(_blaming_folder(message, options) if blamed == message else blamed, options.paths)


def as_typed(message: str, name: str, values: Iterable[str]) -> str:
    """Return a message about a file with the name of the positional argument that gave it; unchanged if none did.

    Args:
        message: the message, which starts with the path.
        name: the name of the argument.
        values: the values that were typed for it.
    """
    return _named_first(message, [(name, value) for value in values]) or message


def _is_local(annotation: Any) -> bool:
    """Return True for the annotation of a path on this machine."""
    return annotation is Path or annotation == LOCAL or any(map(_is_local, get_args(annotation)))


def _is_option(name: str) -> bool:
    return name.startswith("--")


def _typed(words: list[str], counts: dict[str, tuple[int, bool]]) -> Iterable[tuple[str, str]]:
    """Return the options and values in the words of a command line; "" for the option of a positional argument.

    An option may take no value, one or several.
    """
    option, left = "", 0.0
    for word in words:
        name, equals, value = word.partition("=")
        if left <= 0 and not _is_option(name):
            yield "", word
        elif name in counts:
            count, takes_all = counts[name]
            option, left = name, float("inf") if takes_all else count
            if equals:
                yield option, value
                left = 0
        elif left > 0:
            yield option, word
            left -= 1


def _assignment(option: str, options: Options) -> Callable[[re.Match[str]], str]:
    def replaced(match: re.Match[str]) -> str:
        value = match[1]
        if value == "True":
            return option
        if value == "...":
            return f"{option} {options.value_of(option) or ''}".rstrip()
        if value.startswith("["):
            value = " ".join(options.values_of(option)) or value
        elif value[0] in "'\"":
            value = value[1:-1]
            value = next((typed for typed in options.values_of(option) if _is_same(typed, value)), value)
        else:
            value = next((typed for typed in options.values_of(option) if _number(typed) == _number(value)), value)
        return f"{option} {value or repr(value)}"

    return replaced


def _is_same(typed: str, value: str) -> bool:
    """Return True if a message has the long name of a dtype, or the absolute form of a path, that was typed."""
    if Path(value).is_absolute():
        return str(expanded(typed).absolute()) == value
    return LONG_DTYPES.get(typed) == value


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _item(option: str, options: Options) -> Callable[[re.Match[str]], str]:
    def replaced(match: re.Match[str]) -> str:
        values = options.values_of(option)
        return f"{option} {values[int(match[1])]}" if int(match[1]) < len(values) else match[0]

    return replaced


def _without_echo(message: str, typed: list[tuple[str, str]]) -> str:
    """Name a value once, where a message repeats it after the option, as in "--model x: 'x' is not ..."."""
    for option, value in typed:
        for shown in dict.fromkeys((value, str(Path(value)))):
            start = f"{option} {shown}: "
            if value and message.startswith(start):
                again = rf"(?:(?:the [a-z]+ )?(?:{re.escape(repr(shown))}|{re.escape(shown)})(?=[: ]))"
                return f"{start[:-2]}{rest}" if (rest := _after(again, message[len(start) :])) else message
    return message


def _after(pattern: str, text: str) -> str | None:
    found = re.match(pattern, text)
    return None if found is None else text[found.end() :]


def _without_hints(message: str) -> str:
    """Remove advice to pass a Python argument that has no option."""
    # The first of two pieces of advice: "pass token=... or run `hf auth login`".
    message = re.sub(rf"\b{_HINT} or (?=[a-z])", "", message)
    # A sentence with a condition: "If they are last, pass input_data_format='channels_last'."
    message = re.sub(rf"(?:^|(?<=\.)|\n) ?If [^.\n]*?, {_HINT}[^.\n]*\.?", "", message)
    # The end of a sentence, or a whole one: "...; pass subfolder='text_encoder'" or "... Pass revision=... to choose."
    return re.sub(rf"(?:[,;:](?: or| and)?|\.) {_HINT}(?:[^.,;]|\.\w)*", "", message)


def _blaming(message: str, typed: list[tuple[str, str]]) -> str:
    """Add the option whose value the message starts with, names after the option's name, or quotes first.

    A value quoted later may be one of the choices listed in the message.
    """
    named = _named_first(message, typed)
    if named is not None:
        return named
    near = [(option, value) for option, value in typed if _is_near(message, value)]
    if near:
        option, value = max(near, key=lambda pair: len(pair[1]))  # of a folder and one inside it, the inner one
        return f"{option} {value}: {message}"
    first = re.search(r"(?<!\w)(['\"])(.*?)\1", message)
    for option, value in typed:
        is_first = first is not None and message.startswith(repr(value), first.start())
        if is_first or f" {option.strip('-').replace('-', ' ')} {value!r}" in message:
            return f"{_all_of(value, typed)} {value or repr(value)}: {message}"
        is_cut = first is not None and first[2].endswith("...")
        if first is not None and is_cut and any(one.startswith(first[2][:-3]) for one in (value, *Path(value).parts)):
            return f"{option}: {message}"
    return message


def _blaming_folder(message: str, options: Options) -> str:
    """Name the path that was typed where a message starts with a folder above it, such as one that cannot be made."""
    folder = Path(message.partition(": ")[0]).absolute()
    for name, value in options.paths:
        is_path = name in options.local or Path(value).is_absolute()
        if is_path and folder in expanded(value).absolute().parents:
            return f"{name} {value}: {message}"
    return message


def _named_first(message: str, typed: list[tuple[str, str]]) -> str | None:
    """Return a message that starts with a typed value after the option's name; None if it starts with none."""
    for option, value in typed:  # a path that the message has in its absolute form
        whole = str(expanded(value).absolute())
        if value and whole != value and message.startswith((f"{whole}:", f"{whole} ")):
            return f"{option} {value}{message[len(whole) :]}"
    # Messages show paths without a leading ./.
    typed = typed + [(option, str(Path(value))) for option, value in typed if str(Path(value)) != value and value]
    for _, value in typed:
        if value and message.startswith((f"{value}:", f"{value} ")):
            return f"{_all_of(value, typed)} {message}"
    return None


def _all_of(value: str, typed: list[tuple[str, str]]) -> str:
    """Return all options with this value, for example a path that was given to two options."""
    return " or ".join(dict.fromkeys(option for option, other in typed if other == value))


def _is_near(message: str, value: str) -> bool:
    """Return True if a message starts with a path inside a folder, or with a match of a pattern."""
    parts = re.split(r"(\{[^{}]*\}|\*\*/|[*?]|\[[^\]]*\])", value)  # as in shards/{000..099}.tar
    if len(parts) > 1:
        pattern = "".join(".*?" if place % 2 else re.escape(part) for place, part in enumerate(parts))
        return re.match(rf"{pattern}[: ]", message) is not None
    return bool(value) and message.startswith(f"{value}/")
