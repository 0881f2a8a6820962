"""A worker process: it reads a function from its standard input, then arguments, and writes what the function returns.

It is started as a program of its own and not by `multiprocessing`, whose workers import the caller's main script, and
with it the framework that the script trains in. It ends when its standard input does: with its parent, however that
ended. Objects pass through the pipes pickled, with the memory of arrays sent as it is.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import struct
import sys
import threading
import traceback
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from io import BufferedReader


_COUNT = struct.Struct("<Q")


def send(stream: IO[bytes], value: Any) -> None:
    """Write an object that can be pickled."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(pickled), *(buffer.raw() for buffer in buffers)]
    stream.write(_COUNT.pack(len(parts)) + b"".join(_COUNT.pack(part.nbytes) for part in parts))
    for part in parts:
        stream.write(part)
    stream.flush()


def receive(stream: BufferedReader) -> Any:
    """Read an object that `send` wrote; its arrays can be written to.

    Raises:
        EOFError: the other side has closed the pipe.
    """
    (count,) = _COUNT.unpack(_read(stream, _COUNT.size))
    sizes = [_COUNT.unpack(_read(stream, _COUNT.size))[0] for _ in range(count)]
    pickled, *buffers = [_read(stream, size) for size in sizes]
    return pickle.loads(pickled, buffers=buffers)  # noqa: S301  our own process wrote it


def _read(stream: BufferedReader, size: int) -> memoryview:
    content = np.empty(size, np.uint8).data  # which is not filled with zeros first, as a bytearray is
    done = 0
    while done < size:
        read = stream.readinto(content[done:])
        if not read:
            raise EOFError("the pipe was closed")
        done += read
    return content


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
