"""Standard output and error that may have no reader or no space left, and never end a program's work. Internal."""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

NOT_WRITTEN = 2  # the exit code when standard output could not be written
_UNLIMITED = 1 << 20  # columns


# Characters that a terminal would obey or that reverse a line, and lone surrogates, which cannot be encoded. The
# colours of rich and the cursor movements of tqdm are kept.
_OBEYED = re.compile(
    r"(\x1b\[[0-9;]*m|\x1b\[A)"
    "|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def harmless(text: str) -> str:
    r"""Return a text with the characters that a terminal would obey as escapes, such as \u001b, as in JSON.

    Names of files, labels and tensors come from strangers.

    Args:
        text: what a command prints.
    """
    return _OBEYED.sub(lambda found: found[1] or f"\\u{ord(found[0]):04x}", text)


class _Stream:
    """A text stream that escapes control characters, and drops everything after its first failure.

    Args:
        stream: the stream to write to.

    Attributes:
        failure: the first error, or None.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.failure: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, or drop it.

        Args:
            text: the text.
        """
        if self.failure is None:
            try:
                self._stream.write(harmless(text))
            except OSError as error:
                self._fail(error)
        return len(text)

    def flush(self) -> None:
        """Write buffered text, or drop it."""
        try:
            self._stream.flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        """Record the failure, and redirect the descriptor to the null device, or Python would fail again at exit."""
        self.failure = self.failure or error
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def run_program(program: Callable[[], Any], name: str) -> Any:
    """Run a program whose exit code does not depend on a reader of its output, as in `program | head -1`.

    Args:
        program: returns the exit code, or raises SystemExit.
        name: the program's name, for messages.

    Returns:
        The argument for `sys.exit`: the program's exit code; or `NOT_WRITTEN`, after a message on stderr, if standard
        output failed for another reason, such as a full disk.
    """
    _open_closed_descriptors()
    before = sys.stdout, sys.stderr
    output, errors = (_Stream(stream or _nowhere()) for stream in before)
    sys.stdout, sys.stderr = output, errors
    try:
        code = program()
    except SystemExit as end:
        code = end.code
    finally:
        sys.stdout, sys.stderr = before
        output.flush()
        errors.flush()
    if output.failure is None or isinstance(output.failure, BrokenPipeError):
        return code
    reason = output.failure.strerror or output.failure
    with suppress(OSError):
        print(f"{name}: standard output could not be written: {reason}", file=sys.stderr)
    return NOT_WRITTEN


def is_lost() -> bool:
    """Return True if standard output has failed or lost its reader, which makes further output pointless."""
    return getattr(sys.stdout, "failure", None) is not None


def console() -> Console:
    """Return a console for tables and texts, which wraps them at the width of a terminal, and nowhere else.

    A pipe or a file has no width. Wrapped names could not be searched for in it.
    """
    from rich.console import Console

    width = None if sys.stdout.isatty() else _UNLIMITED
    return Console(width=width, highlight=False, markup=False, emoji=False)


def print_row(row: dict[str, Any]) -> None:
    """Print a row of `--json` as one line, and flush it.

    In ASCII: all terminals and pipes accept it, and it preserves file names that cannot be decoded.

    Args:
        row: the row.
    """
    print(json.dumps(row), flush=True)


def _open_closed_descriptors() -> None:
    """Open descriptors 0 to 2 if the caller closed them (`>&-`); the next file would otherwise take their place."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _nowhere() -> Any:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123  open until the process ends
