"""SIGINT and SIGTERM end a program without a traceback, with its temporary files deleted. Internal."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_AGAIN = 0.05  # seconds


class _StoppedError(KeyboardInterrupt):
    """Raised where the program was when the first signal came, so that its `finally` blocks run."""


class _Interruption:
    """The handler of both signals.

    Args:
        on_signal: called with the first signal.

    Attributes:
        received: the first signal, or None.
        is_over: True once the program has returned; from then on, a signal ends the process at once.
    """

    def __init__(self, on_signal: Callable[[], object]) -> None:
        self._on_signal = on_signal
        self.received: int | None = None
        self.is_over = False
        self._owner = os.getpid()
        self._report = sys.unraisablehook

    def __call__(self, number: int, _: object) -> None:
        """Stop the program. A second signal does not wait for it."""
        if os.getpid() != self._owner:  # a forked process
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif self.is_over or self.received is not None:
            os._exit(128 + number)
        else:
            self.received = number
            self._on_signal()
            raise _StoppedError

    def report(self, unraisable: Any) -> None:
        """Send the signal again if Python dropped the error, as it does in destructors; report other errors."""
        if not isinstance(unraisable.exc_value, _StoppedError):
            self._report(unraisable)
        elif self.received is not None:
            number, self.received = self.received, None
            threading.Timer(_AGAIN, os.kill, (self._owner, number)).start()


def run_interruptibly(
    program: Callable[[], Any], *, until_exit: bool, on_signal: Callable[[], object] = lambda: None
) -> Any:
    """Run a program that SIGINT and SIGTERM end with exit codes 130 and 143. A signal that is ignored stays ignored.

    Args:
        program: returns the exit code, or raises SystemExit.
        until_exit: keep the handlers afterwards, because the process exits; otherwise, the earlier ones are restored.
        on_signal: called with the first signal.

    Returns:
        The argument for `sys.exit`.
    """
    handler = _Interruption(on_signal)
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        before = {number: action for number, action in before.items() if action is not signal.SIG_IGN}
    hook = sys.unraisablehook
    code: Any = None
    try:
        try:
            sys.unraisablehook = handler.report
            for number in before:
                signal.signal(number, handler)
            code = program()
        finally:
            handler.is_over = True
    except BaseException as error:
        if handler.received is None and not isinstance(error, SystemExit):
            raise
        code = error.code if isinstance(error, SystemExit) else None
    finally:
        if not until_exit:
            sys.unraisablehook = hook
            for number, action in before.items():
                signal.signal(number, action)
    return code if handler.received is None else 128 + handler.received
