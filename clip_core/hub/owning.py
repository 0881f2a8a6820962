"""Exclusive ownership of a folder during a long task, such as a conversion or a training run. Internal.

Two such tasks that write to one folder would each replace what the other has written. The owner holds the lock of a
small file that names it; the system releases the lock if the owner dies.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from clip_core.hub.printing import reason_of, shortened
from clip_core.hub.switching import STAGING_PREFIX

_HAS_LOCKS = os.name != "nt"
if _HAS_LOCKS:
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OWNER = f"{STAGING_PREFIX}owner"
_LONGEST = 200  # bytes of the owner's description


@contextmanager
def owned(folder: Path, task: str) -> Iterator[None]:
    """Own a folder. Nothing is locked on Windows and on file systems without locks.

    Args:
        folder: the folder. If it does not exist, the owner's file is created in its parent.
        task: the task, such as "a conversion", for the message that another process prints.

    Raises:
        BlockingIOError: another process owns the folder; the message names it.
        OSError: no file can be created there.
    """
    if not _HAS_LOCKS:
        yield
        return
    with _naming(folder):
        created = [] if folder.is_dir() else _create(folder.parent)
    name = "" if folder.is_dir() else f"-{hashlib.sha256(os.fsencode(folder.name)).hexdigest()[:12]}"
    path = (folder if folder.is_dir() else folder.parent) / f"{_OWNER}{name}"
    try:
        with _naming(folder):
            descriptor = _lock(path, folder)
        try:
            with _naming(folder):  # such as on a full disk
                os.truncate(descriptor, 0)
                os.write(descriptor, f"{task} (process {os.getpid()} on {socket.gethostname()})".encode()[:_LONGEST])
            yield
        finally:
            path.unlink(missing_ok=True)  # before the lock is released, so that no other owner's file is deleted
            os.close(descriptor)
    finally:
        for made in created:
            with contextlib.suppress(OSError):  # something was written there
                made.rmdir()


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Name the folder in errors of this block, as users do not know the owner's file; errors about a link name it."""
    try:
        yield
    except OSError as error:
        if error.errno in {None, errno.ELOOP, errno.ENAMETOOLONG}:
            raise
        raise type(error)(f"{folder} cannot be written: {reason_of(error)}; give another path") from error


def _create(folder: Path) -> list[Path]:
    """Create a folder, and return those that did not exist, the innermost first."""
    created = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return created


def _lock(path: Path, folder: Path) -> int:
    """Return a descriptor of the owner's file that holds its lock."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, _LONGEST).decode("utf-8", "replace") or "another process"
            os.close(descriptor)
            raise BlockingIOError(
                f"{folder}: {shortened(owner)} is writing to it; wait until it ends, or choose another folder"
            ) from None
        except OSError:  # this file system has no locks
            return descriptor
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)  # the last owner deleted the file in the meantime
