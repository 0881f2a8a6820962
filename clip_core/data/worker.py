"""Worker process: reads a function and then its arguments from standard input, and writes the return values.

It is a separate program because a `multiprocessing` worker would import the caller's main script, and the framework
with it. It ends when its standard input closes, that is, when its parent ends for any reason, even in the middle of a
task. Objects are pickled for the pipes, with the memory of arrays sent unchanged.
"""

from __future__ import annotations

import os
import pickle
import queue
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
    """Write a picklable object.

    Args:
        stream: the pipe to write to.
        value: the object.
    """
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(pickled), *(buffer.raw() for buffer in buffers)]
    stream.write(_COUNT.pack(len(parts)) + b"".join(_COUNT.pack(part.nbytes) for part in parts))
    for part in parts:
        stream.write(part)
    stream.flush()


def receive(stream: BufferedReader) -> Any:
    """Read an object written by `send`; its arrays are writable.

    Args:
        stream: the pipe to read from.

    Raises:
        EOFError: if the other side has closed the pipe.
    """
    (count,) = _COUNT.unpack(_received(stream, _COUNT.size))
    sizes = [_COUNT.unpack(_received(stream, _COUNT.size))[0] for _ in range(count)]
    pickled, *buffers = [_received(stream, size) for size in sizes]
    return pickle.loads(pickled, buffers=buffers)  # noqa: S301  written by our own process


def _received(stream: BufferedReader, size: int) -> memoryview:
    content = np.empty(size, np.uint8).data  # unlike a bytearray, not zero-filled first
    done = 0
    while done < size:
        read = stream.readinto(content[done:])
        if not read:
            raise EOFError("the pipe was closed")
        done += read
    return content


# Ctrl-C reaches all processes, but the parent decides; imports take too long to ignore it only afterwards.
PROGRAM = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); from clip_core.data.worker import main; main()"


class WorkerError:
    """An error raised by the function, in the form that the worker sends.

    Attributes:
        text: the traceback.
    """

    def __init__(self, text: str) -> None:
        self.text = text


def main() -> None:
    """Serve until standard input closes.

    The parent ends its workers itself, so standard input closes only if it was killed: the result of a task would have
    no reader.
    """
    tasks = cast("BufferedReader", sys.stdin.buffer)
    results = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # keeps a library's prints out of the results
    arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
    # Read tasks while another is processed: the parent never blocks on a full pipe, and its end is noticed at once.
    threading.Thread(target=_collect, args=(tasks, arrived), daemon=True).start()
    function = arrived.get()
    while True:
        try:
            send(results, _result(function, arrived.get()))
        except BrokenPipeError:
            _end()


def _result(function: Any, task: Any) -> Any:
    for received in (function, task):
        if isinstance(received, WorkerError):
            return received
    try:
        return function(task)
    except Exception:  # noqa: BLE001  the parent raises it
        return WorkerError(traceback.format_exc())


def _end() -> None:
    # Not sys.exit: a thread cannot end the process by it, and the other thread may hold standard input.
    os._exit(0)


def _collect(tasks: BufferedReader, arrived: queue.SimpleQueue[Any]) -> None:
    while True:
        try:
            arrived.put(receive(tasks))
        except EOFError:
            _end()
        except Exception:  # noqa: BLE001  such as an augmentation defined only in the main script
            arrived.put(WorkerError(traceback.format_exc()))
