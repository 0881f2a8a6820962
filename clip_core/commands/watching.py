"""A separate process for a command, so that its death by a signal is reported. Internal.

A crash in a framework's native code ends a process without a Python error. The command therefore runs in a fork, made
before any library is loaded, and this process only waits for it. On Linux only: on macOS, system libraries that the
frameworks use do not work in a fork, and Windows has no fork.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from clip_core.hub.printing import signal_name

if TYPE_CHECKING:
    from mmap import mmap

_KILL_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_BY_TERMINAL = 128  # SI_KERNEL: the terminal sent the signal, to all processes of the command
_SECONDS_FOR_GROUP = 0.1  # a signal to the group of processes reaches both, but not at once
_SECONDS_TO_INSIST = 1.0


class Watched:
    """The outcome of `watch`.

    Args:
        code: the exit code of the command, in the process that waited; None in the process that runs it.
        stopping: memory that both processes share; None if there is only one process.
    """

    def __init__(self, code: int | None = None, stopping: mmap | None = None) -> None:
        self.code, self._stopping = code, stopping

    def stop(self) -> None:
        """Record that the command received a signal, so that it is not passed on again."""
        if self._stopping is not None:
            self._stopping[0] = 1


def watch(name: str, death: int) -> Watched:
    """Fork, and wait for the other process, which runs the command; signals that come here are passed on to it.

    Args:
        name: the program's name, for the message.
        death: the exit code if the process dies by a signal.
    """
    if sys.platform != "linux":
        return Watched()
    from mmap import mmap

    passed_on = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    stopping, parent = mmap(-1, 1), os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, passed_on | {signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        _end_with(parent)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return Watched(None, stopping)
    status = _ended(child, stopping, passed_on)
    if os.WIFEXITED(status):
        return Watched(os.WEXITSTATUS(status))
    number = os.WTERMSIG(status)
    if number in passed_on:
        return Watched(128 + number)  # the shell's code
    is_crash = number != signal.SIGKILL  # which Linux sends when memory runs out
    advice = "a library crashed; PYTHONFAULTHANDLER=1 shows where" if is_crash else "is there enough memory?"
    with suppress(OSError):  # it may be closed
        os.write(2, f"{name}: the process was ended by {signal_name(number)}: {advice}\n".encode())
    return Watched(death)


def _end_with(parent: int) -> None:
    """Let the kernel kill this process when its parent ends."""
    import ctypes

    ctypes.CDLL(None).prctl(_KILL_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before
        os._exit(128 + signal.SIGKILL)


def _ended(child: int, stopping: mmap, passed_on: set[signal.Signals]) -> int:
    """Wait for a process, and return its status."""
    assert sys.platform == "linux"  # noqa: S101  for mypy
    first = None
    while True:
        info = signal.sigwaitinfo(passed_on | {signal.SIGCHLD})
        if info.si_signo != signal.SIGCHLD and info.si_code != _BY_TERMINAL:
            first = first or time.monotonic()
            has_ended = signal.sigtimedwait({signal.SIGCHLD}, _SECONDS_FOR_GROUP)
            insists = time.monotonic() - first > _SECONDS_TO_INSIST
            if not has_ended and (insists or not stopping[0]):
                os.kill(child, info.si_signo)
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
