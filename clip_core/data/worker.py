"""A worker process: reads a function from its standard input, then arguments, and writes what the function returns.

It is started as a program of its own and not by `multiprocessing`, whose workers import the caller's main script, and
with it the framework that the script trains in. It ends when its standard input does: with its parent, however that
ended.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, cast

from clip_core.data.wire import receive, send

if TYPE_CHECKING:
    from io import BufferedReader

PROGRAM = "from clip_core.data.worker import main; main()"

_END = object()


class WorkerError:
    """What a worker sends where the function raised an error.

    Attributes:
        text: the traceback.
    """

    def __init__(self, text: str) -> None:
        self.text = text


def main() -> None:
    """Serve until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    tasks = cast("BufferedReader", sys.stdin.buffer)
    results = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no result
    arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
    # Tasks are taken out of the pipe while another is worked on: the parent is never to wait for room to write one.
    threading.Thread(target=_collect, args=(tasks, arrived), daemon=True).start()
    function = arrived.get()
    while (task := arrived.get()) is not _END:
        try:
            send(results, _result(function, task))
        except BrokenPipeError:
            break
    # Not sys.exit: nothing is left to do, and the other thread may hold standard input.
    os._exit(0)


def _result(function: Any, task: Any) -> Any:
    for received in (function, task):
        if isinstance(received, WorkerError):
            return received
    try:
        return function(task)
    except Exception:  # noqa: BLE001  the parent raises it
        return WorkerError(traceback.format_exc())


def _collect(tasks: BufferedReader, arrived: queue.SimpleQueue[Any]) -> None:
    while True:
        try:
            arrived.put(receive(tasks))
        except EOFError:
            arrived.put(_END)
            return
        except Exception:  # noqa: BLE001  such as an augmentation that only the main script defines
            arrived.put(WorkerError(traceback.format_exc()))
