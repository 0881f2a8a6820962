"""The command `clip-zoo`. Its libraries are imported after its signal handlers are in place."""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
import warnings
from typing import Any

from clip_core.commands.interruption import run_interruptibly
from clip_core.commands.streams import run_program
from clip_core.commands.watching import Watched, watch
from clip_core.hub.patience import tell_of_retries_once
from clip_core.hub.printing import printable

BAD_INPUT = 2  # the conventional exit code for usage errors
BROKEN_LIBRARY = 3
_LONGEST_MESSAGE = 10_000  # characters, several lines; more would hide what was typed


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0 on success, 2 on bad input, with a one-line explanation on stderr.

    SIGINT and SIGTERM end it with 130 and 143, without a traceback or a half-written file. A closed pipe, as in
    `clip-zoo verify ... | head -1`, changes no exit code. Unless `arguments` are given, the command runs in a process
    of its own on Linux; if a library crashes it, the exit code is 3, after one line.

    Args:
        arguments: the command line; by default `sys.argv[1:]`.
    """
    # Before TensorFlow is imported, also by processes of its own. Its warnings stay, such as of a missing CUDA library.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    watched = watch("clip-zoo", BROKEN_LIBRARY) if arguments is None else Watched()
    if watched.code is not None:
        sys.exit(watched.code)
    typed = sys.argv[1:] if arguments is None else arguments

    def one_line(message: Warning | str, *_: object, **__: object) -> str:
        return f"clip-zoo: {_naming_the_option(str(message), typed)}\n"  # without its code location

    warnings.formatwarning = one_line
    if logging.lastResort is not None:  # prints the warnings that libraries log
        logging.lastResort.setFormatter(_OneLine(typed))
    sys.exit(
        run_interruptibly(
            lambda: run_program(lambda: _exit_code(typed), "clip-zoo"),
            until_exit=arguments is None,
            on_signal=watched.stop,
        )
    )


class _OneLine(logging.Formatter):
    """The format of what libraries log: like a warning; a traceback stays whole.

    Args:
        typed: the command line.
    """

    def __init__(self, typed: list[str]) -> None:
        super().__init__()
        self._typed = typed

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        if record.exc_info:
            return super().format(record)
        return f"clip-zoo: {_naming_the_option(record.getMessage(), self._typed)}"


def _exit_code(arguments: list[str]) -> int:
    """Run the command and return its exit code."""
    from cyclopts import CycloptsError

    from clip_core.commands.app import app
    from clip_core.commands.usage import usage_error
    from clip_core.commands.wording import Options, message_of

    try:
        import clip_core.imports.shadowing  # noqa: F401  before the first import from `converters`

        _check_typed(arguments)
        tell_of_retries_once()
        code = app(arguments, exit_on_error=False, print_error=False)
    except MemoryError as error:
        reason = f" ({error})" if str(error) else ""
        advice = "try a smaller --batch-size" if "--batch-size" in Options.read(app, arguments).names else "free some"
        told = _in_one_line(f"there is not enough memory{reason}; {advice}", arguments)
        print(f"clip-zoo: {told}", file=sys.stderr)  # noqa: T201
        return BAD_INPUT
    except (CycloptsError, ValueError, OSError, ImportError) as error:
        if (library := _failed_import(error)) is not None:
            told = f"{library} is installed but cannot be imported; reinstall it, or install another release: {error}"
            print(f"clip-zoo: {told}", file=sys.stderr)  # noqa: T201
            return BROKEN_LIBRARY
        if isinstance(error, CycloptsError):
            message = _in_one_line(usage_error(error, app, arguments), arguments)
        else:
            message = _naming_the_option(message_of(error), arguments)
        print(f"clip-zoo: {message}", file=sys.stderr)  # noqa: T201
        return BAD_INPUT
    except KeyboardInterrupt:
        return 130  # the shell's code for a command ended by Ctrl-C
    return code if isinstance(code, int) else 0


def _check_typed(arguments: list[str]) -> None:
    """Refuse empty values, usually of a variable that was not set, and URLs for paths on this machine.

    A URL would become a folder of that name: `s3://photos` is also a path.
    """
    if all(word[word.find("=") + 1 :].strip() and "://" not in word for word in arguments):
        return  # without reading the options, which takes time
    from clip_core.commands.app import app
    from clip_core.commands.wording import Options

    options = Options.read(app, arguments)
    for name, value in (*options.typed, *options.words):
        if not value.strip():
            advice = ", or leave the option out" if name.startswith("--") and name not in options.required else ""
            raise ValueError(f"{name} {value!r} is empty; give a value{advice}")
        if name in options.local and re.match(r"[A-Za-z][\w+.-]*://", value):
            raise ValueError(f"{name} {value} is a URL; give a path on this machine")


def _failed_import(error: BaseException) -> str | None:
    """Return the name of the library whose import raised an error for a reason other than being absent; None otherwise.

    For example, a library built for another release of numpy raises a ValueError, and one without its shared objects an
    OSError.
    """
    from clip_core.backends import BrokenLibraryError, own_packages

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ModuleNotFoundError):
        frames = [frame for frame, _ in traceback.walk_tb(cause.__traceback__) if frame.f_code.co_name == "<module>"]
        name = frames[-1].f_globals["__name__"].partition(".")[0] if frames else None
        if name is not None and (name not in own_packages() or isinstance(error, BrokenLibraryError)):
            return str(name)
        cause = cause.__cause__
    return None


def _naming_the_option(message: str, arguments: list[str]) -> str:
    """Put the options that were typed in place of the library's arguments in an error or a warning of one line.

    Args:
        message: its message.
        arguments: the command line.
    """
    from clip_core.commands.app import app
    from clip_core.commands.wording import Options, in_options

    return _in_one_line(in_options(message[:_LONGEST_MESSAGE], Options.read(app, arguments)), arguments)


def _in_one_line(message: str, arguments: list[str]) -> str:
    for word in arguments:
        for text in (word, word.partition("=")[2]):
            if len(text.splitlines()) > 1:  # a message stays one line, whatever was typed
                message = message.replace(text, repr(text)[1:-1])
    # Messages of other libraries may have several, and a file name may hold characters that control a terminal.
    return printable(" ".join(message.split("\n")), len(message))


def __getattr__(name: str) -> Any:
    """Load the table of subcommands as `app`."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from clip_core.commands.app import app

    return app


if __name__ == "__main__":
    main()
