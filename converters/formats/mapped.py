"""A file that is mapped into memory by parts, so that a part leaves memory with its arrays; or read into them."""

from __future__ import annotations

import mmap
import os
import weakref
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path


# Parts in the same stretch of so many bytes share one map: each map holds a file descriptor, of which there are few.
_STRETCH = 2**26


class MappedFile:
    """A file to take arrays of bytes out of, without reading it.

    One map of a whole file would keep every page that was ever touched in memory. A map for each stretch lets go of
    them with the last array in it, so that streaming through a checkpoint needs little more than its largest tensor.
    The file is opened once: what replaces it under its name later is not what its header spoke of.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._descriptor)
        self.size = os.fstat(self._descriptor).st_size
        self._reading = Lock()  # the descriptor has one position
        self._maps: weakref.WeakValueDictionary[tuple[int, int], mmap.mmap] = weakref.WeakValueDictionary()

    def part(self, start: int, end: int) -> np.ndarray:
        """The bytes from `start` up to `end`, uint8, copy on write: changing them leaves the file as it is.

        Raises:
            ValueError: the file ends before.
        """
        self._check(end)
        if start >= end:
            return np.zeros(0, np.uint8)
        first, last = start // _STRETCH * _STRETCH, min(-(-end // _STRETCH) * _STRETCH, self.size)
        mapped = self._maps.get((first, last))
        if mapped is None:
            mapped = mmap.mmap(self._descriptor, last - first, access=mmap.ACCESS_COPY, offset=first)
            self._maps[first, last] = mapped
        return np.frombuffer(mapped, np.uint8, count=end - start, offset=start - first)

    def read_into(self, array: np.ndarray, start: int) -> None:
        """Fill an array, whose values stand in order, with the bytes from `start` on. No page of the file is held.

        Raises:
            ValueError: the file ends before.
        """
        rest = array.reshape(-1).view(np.uint8).data
        self._check(start + len(rest))
        with self._reading, open(self._descriptor, "rb", buffering=0, closefd=False) as file:
            file.seek(start)
            while rest:
                count = file.readinto(rest)  # the system reads at most 2 GiB at once
                if not count:
                    raise ValueError(f"it was cut short to {file.tell()} bytes while it was read")
                rest = rest[count:]

    def _check(self, end: int) -> None:
        if end > self.size:
            raise ValueError(f"it ends after {self.size} bytes, and {end} are announced")
