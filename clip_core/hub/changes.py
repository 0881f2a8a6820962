"""Detection of files that change while they are read, by size and modification time. Internal.

A model that is read in several steps, from several files, would otherwise be a mixture of two models.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from clip_core.hub.printing import printable
from clip_core.hub.targets import expanded

if TYPE_CHECKING:
    from collections.abc import Iterable

# Files beside the weights, which are read in further steps: configurations, tokenizers, chat templates.
_TEXTS = {".json", ".txt", ".jinja"}

# A large file with more holes than data is the beginning of a download.
_ALWAYS_WHOLE, _MOST_HOLES, _BLOCK = 2**28, 16, 512


class ChangedError(OSError):
    """An error about a file that changed while it was read."""


class Stamp(NamedTuple):
    """A file's identity, size in bytes, and time of its last change in nanoseconds."""

    device: int
    inode: int
    size: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """Return the stamp in a result of `os.stat`."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def check_stamp(path: Path, before: Stamp | None, file: int | Path) -> None:
    """Check that a file has not changed.

    Args:
        path: its path, for the message.
        before: its earlier stamp; None if it did not exist.
        file: a descriptor of the file, which may have another name by now; or a path, whose file must be the same.

    Raises:
        ChangedError: it has changed.
    """
    now = _stamp(file)
    if now == before:
        return
    if before is None or now is None:
        how = "appeared" if before is None else "was removed"
    elif (before.device, before.inode) != (now.device, now.inode):
        how = "was replaced"
    else:
        how = "changed" if before.size == now.size else f"changed from {before.size} to {now.size} bytes"
    raise ChangedError(f"{printable(path)} {how} while it was read; try again when no other program writes to it")


def check_written(status: os.stat_result) -> None:
    """Check that a file was written, and not only given a size.

    Args:
        status: the result of `os.stat`.

    Raises:
        ValueError: most of a large file was never written.
    """
    stored = getattr(status, "st_blocks", 0) * _BLOCK  # 0 on a file system that does not report it
    if status.st_size > _ALWAYS_WHOLE and 0 < stored < status.st_size // _MOST_HOLES:
        raise ValueError(f"of its {status.st_size} bytes only {stored} were written; download it again")


class WatchedFiles:
    """A snapshot of the files of a folder, taken before they are read. A source on the hub is not watched.

    Args:
        source: a folder, or a file in the folder to watch.
        subfolder: the subfolder to watch instead.
    """

    def __init__(self, source: str | os.PathLike[str], subfolder: str | None = None) -> None:
        path = expanded(source)
        is_folder = os.path.isdir(path)  # noqa: PTH112  no error for a name that is too long
        folder = path / (subfolder or "") if is_folder else path.parent
        self._stamps: dict[str, Stamp | None] = {}
        self._folder = folder if os.path.exists(path) and folder.is_dir() else None  # noqa: PTH110
        if self._folder is not None:
            self._stamps = {path.name: _stamp(path) for path in self._folder.iterdir() if path.is_file()}

    def check(self, files: Iterable[Path]) -> None:
        """Check that some files of the folder, and all texts in it, have not changed.

        Args:
            files: the files that were read; those outside the folder are not checked.

        Raises:
            ChangedError: one has changed.
        """
        if self._folder is None:
            return
        read = {path.name for path in files if path.parent == self._folder}
        now = {path.name for path in self._folder.iterdir() if path.suffix in _TEXTS and path.is_file()}
        before = {name for name in self._stamps if Path(name).suffix in _TEXTS}
        for name in sorted(read | now | before):
            path = self._folder / name
            check_stamp(path, self._stamps.get(name), path)


def _stamp(file: int | Path) -> Stamp | None:
    try:
        return Stamp.of(os.fstat(file) if isinstance(file, int) else file.stat())
    except FileNotFoundError:
        return None
