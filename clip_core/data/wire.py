"""Python objects through pipes, with the memory of arrays sent as it lies."""

from __future__ import annotations

import pickle
import struct
from typing import IO, TYPE_CHECKING, Any

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
