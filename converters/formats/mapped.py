"""A file whose parts are read into arrays, or memory-mapped for as long as their arrays exist."""

from __future__ import annotations

import mmap
import os
import weakref
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from clip_core.hub.changes import Stamp, check_stamp, check_written
from clip_core.hub.printing import counted

if TYPE_CHECKING:
    from pathlib import Path


# Parts in the same range of bytes share one map, because each map occupies a file descriptor.
_STRETCH = 2**26


class MappedFile:
    """A file that returns parts of itself as arrays of bytes.

    One map of the entire file would keep every page that was read in memory. One map per range releases its pages with
    its last array, so streaming through a checkpoint needs little more memory than the largest tensor. The file is
    opened once, so replacing it later has no effect.

    Args:
        path: the file.

    Raises:
        ValueError: most of a large file was never written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._descriptor)
        status = os.fstat(self._descriptor)
        self._stamp = Stamp.of(status)
        self.size = status.st_size
        check_written(status)
        self._reading = Lock()  # all threads share the descriptor's position
        self._maps: weakref.WeakValueDictionary[tuple[int, int], mmap.mmap] = weakref.WeakValueDictionary()

    def part(self, start: int, end: int) -> np.ndarray:
        """Return the bytes from `start` up to `end` as uint8, copy on write: changes do not reach the file.

        Raises:
            ValueError: the file ends earlier.
            ChangedError: the file is no longer as it was when it was opened.
        """
        self.check(end)
        check_stamp(self._path, self._stamp, self._descriptor)
        if start < 0:
            raise ValueError(f"its header refers to byte {start}, before its beginning")
        if start >= end:
            return np.zeros(0, np.uint8)
        first, last = start // _STRETCH * _STRETCH, min(-(-end // _STRETCH) * _STRETCH, self.size)
        mapped = self._maps.get((first, last))
        if mapped is None:
            mapped = mmap.mmap(self._descriptor, last - first, access=mmap.ACCESS_COPY, offset=first)
            self._maps[first, last] = mapped
        return np.frombuffer(mapped, np.uint8, count=end - start, offset=start - first)

    def read_into(self, array: np.ndarray, start: int) -> None:
        """Fill a contiguous array with the bytes from `start` on, without mapping the file.

        Raises:
            ValueError: the file ends earlier.
            ChangedError: the file is no longer as it was when it was opened.
        """
        rest = array.reshape(-1).view(np.uint8).data
        self.check(start + len(rest))
        with self._reading, open(self._descriptor, "rb", buffering=0, closefd=False) as file:
            file.seek(start)
            while rest:
                count = file.readinto(rest)  # the system reads at most 2 GiB at once
                if not count:
                    break
                rest = rest[count:]
        check_stamp(self._path, self._stamp, self._descriptor)
        if rest:
            raise ValueError(f"it ended {counted(len(rest), 'byte')} too early while being read")

    def check_path(self) -> None:
        """Check that the path still leads to this file, unchanged.

        Raises:
            ChangedError: it does not.
        """
        check_stamp(self._path, self._stamp, self._path)

    def check(self, end: int) -> None:
        """Check that the file has at least `end` bytes.

        Raises:
            ValueError: it ends earlier.
        """
        if end > self.size:
            raise ValueError(f"it is truncated: it has {self.size} bytes, but its header requires {end}")
