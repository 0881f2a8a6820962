"""Replacing several files of a folder at once: after a kill, a reader gets the old files or the new ones. Internal.

The new files wait in a folder of their own, complete and on disk. One rename, to the name `_SWITCH`, makes them the
current ones; a kill before it changes nothing. After it, the files move to their places. A kill in between leaves the
rest to the next reader or writer, which finishes the moves before it opens a file (`settle`). Other libraries read
`config.json` first. It is removed first and comes back last, so they find no model rather than a mixture.

A single rename of the weights would need no such step, but the weights, their index and `config.json` are several files
with fixed names.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import json
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

_ON_WINDOWS = os.name == "nt"  # it cannot lock or flush folders
if not _ON_WINDOWS:
    import fcntl

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

# Prefix of folders that wait to be moved; one may be left behind by an interrupted save, and is never read.
STAGING_PREFIX = ".saving-"

_SWITCH = f"{STAGING_PREFIX}switch"
_REMOVED = ".removed.json"  # in that folder: the names of the files that the new ones replace
_PATIENCE = 60  # seconds; a switch takes milliseconds


def switch(folder: Path, staging: Path, replaces: re.Pattern[str] | None) -> None:
    """Move all files of a folder into another, as one step.

    Args:
        folder: the target.
        staging: a subfolder of it with the new files.
        replaces: a pattern of whole names. Matching files of the target that have no successor are deleted. Those in a
            subfolder have names such as "a/b.txt"; they are looked at only if the pattern also matches "a/".

    Raises:
        OSError: a folder is in the way of a file, or another process has not released the target for a minute. The old
            files are unchanged.
    """
    settle(folder)
    flush_to_disk(staging)
    names = _names(staging)
    if len(names) == 1 and replaces is None:
        _place(folder, staging, names[0])
        return
    with locked(folder):
        _finish(folder)
        names = [name for name in names if not _is_same_text(folder / name, staging / name)]
        removed = [name for name in _replaced(folder, replaces) if not (staging / name).exists()]
        for name in [*names, *removed]:
            _check_place(folder, name)
        if len(names) + len(removed) > 1:
            _switch_at_once(folder, staging, names, removed)
        elif names:
            _place(folder, staging, names[0])
        elif removed:
            _remove(folder, removed[0])


def settle(path: Path) -> None:
    """Finish an interrupted switch of a folder, or of the folder of a file, before it is read.

    Args:
        path: the folder or file; it need not exist.

    Raises:
        OSError: this process may not write to the folder.
        ValueError: the folder of the switch is damaged.
    """
    for folder in (path, path.parent):
        if os.path.isdir(folder / _SWITCH):  # noqa: PTH112  no error for a name that is too long, such as a text
            try:
                with locked(folder):
                    _finish(folder)
            except OSError as error:
                raise OSError(
                    f"{folder}: a save was interrupted, and could not be finished ({error.strerror or error}); load it "
                    "once as a user who may write there"
                ) from error
            except (ValueError, TypeError) as error:
                raise ValueError(f"{folder / _SWITCH} is damaged ({error}); delete it, and save again") from error


@contextmanager
def locked(folder: Path, patience: float = _PATIENCE) -> Iterator[None]:
    """Hold a folder's lock, which the system releases if the process dies. There is none on Windows and some networks.

    Args:
        folder: an existing folder.
        patience: seconds to wait for another process.

    Raises:
        BlockingIOError: another process holds the lock.
    """
    if folder.name.startswith(STAGING_PREFIX):  # a staging folder is private, and its owner holds its lock already
        yield
        return
    descriptor = _try_lock(folder)
    until = time.monotonic() + patience
    while descriptor is None and time.monotonic() < until:
        time.sleep(0.02)
        descriptor = _try_lock(folder)
    if descriptor is None:
        raise BlockingIOError(f"another process is writing to {folder}; wait for it, or choose another folder")
    try:
        yield
    finally:
        _unlock(descriptor)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Yield a new subfolder, which is deleted at the end. Folders that killed processes left behind are deleted, too.

    Args:
        parent: an existing folder.
    """
    import tempfile

    for left in parent.glob(f"{STAGING_PREFIX}*"):
        if left.name != _SWITCH and left.is_dir() and not left.is_symlink():
            _delete_if_left(left)
    while True:
        made = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=parent))
        descriptor = _try_lock(made)
        if descriptor is not None and made.is_dir():
            break  # otherwise, another process mistook it for one left behind
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        _unlock(descriptor)


def _delete_if_left(staging: Path) -> None:
    """Delete a staging folder unless a living process holds its lock."""
    with contextlib.suppress(OSError):
        descriptor = _try_lock(staging)
        if descriptor is not None and descriptor >= 0:
            shutil.rmtree(staging, ignore_errors=True)
            _unlock(descriptor)


def _try_lock(folder: Path) -> int | None:
    """Return a descriptor that holds the folder's lock; None if another has it, and -1 where there are no locks."""
    if _ON_WINDOWS:
        return -1
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        return None if error.errno in {errno.EWOULDBLOCK, errno.EACCES} else -1
    return descriptor


def _unlock(descriptor: int) -> None:
    if descriptor >= 0:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # explicitly, as a forked process may share the descriptor
        os.close(descriptor)


def _switch_at_once(folder: Path, staging: Path, names: list[str], removed: list[str]) -> None:
    for name in set(_names(staging)) - set(names):
        (staging / name).unlink()  # equal to the old one, which stays
    (staging / _REMOVED).write_text(json.dumps(removed), encoding="utf-8")
    _flush(staging / _REMOVED)
    _flush(staging)
    staging.rename(folder / _SWITCH)
    _flush(folder)
    try:
        _finish(folder)
    except BaseException:  # for example, Ctrl-C
        _finish(folder)
        raise


def _finish(folder: Path) -> None:
    """Finish an interrupted switch, if there is one. The caller holds the lock."""
    waiting = folder / _SWITCH
    if waiting.is_symlink() or not (waiting / _REMOVED).is_file():
        shutil.rmtree(waiting, ignore_errors=True)
        return
    names, removed = _names(waiting), json.loads((waiting / _REMOVED).read_text(encoding="utf-8"))
    for name in [*names, *removed]:  # the folder may come from a stranger
        _check_place(folder, name)
    for name in reversed(_ordered({*names, *removed})):
        _remove(folder, name)
    for name in names:
        _place(folder, waiting, name)
    _flush(folder)
    (waiting / _REMOVED).unlink()
    shutil.rmtree(waiting, ignore_errors=True)


def _names(folder: Path) -> list[str]:
    """Return the names of all files in a folder but the list of removed ones, in the order of their moves."""
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return _ordered(names - {_REMOVED})


def _ordered(names: set[str]) -> list[str]:
    """Return names with JSON files last, because an index or a configuration must not describe missing files."""
    return sorted(names, key=lambda name: (name.endswith(".json"), name))


def _place(folder: Path, staging: Path, name: str) -> None:
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    (staging / name).replace(target)


def _check_place(folder: Path, name: str) -> None:
    """Check that a name can be that of a file inside the folder."""
    target = folder / name
    if ".." in Path(name).parts or not target.parent.resolve().is_relative_to(folder.resolve()):
        raise OSError(errno.EPERM, f"{name!r} leads out of the folder", str(folder))
    if target.is_dir() and not target.is_symlink():
        raise IsADirectoryError(f"{target} is a folder, and in the way of a file of that name; rename it")


def _replaced(folder: Path, replaces: re.Pattern[str] | None) -> list[str]:
    """Return the names of a folder's files, and of those in its subfolders, that a pattern matches."""
    if replaces is None:
        return []
    found = []
    for path in folder.iterdir():
        if path.is_file():
            found.append(path.name)
        elif not path.name.startswith(STAGING_PREFIX) and not path.is_symlink() and replaces.fullmatch(f"{path.name}/"):
            found += [f"{path.name}/{inner.name}" for inner in path.iterdir() if inner.is_file()]
    return [name for name in found if replaces.fullmatch(name)]


def _remove(folder: Path, name: str) -> None:
    """Remove a file, and the subfolder that it leaves empty."""
    path = folder / name
    path.unlink(missing_ok=True)
    if path.parent != folder:
        with contextlib.suppress(OSError):  # it has other files
            path.parent.rmdir()


def _is_same_text(old: Path, new: Path) -> bool:
    return new.suffix in {".json", ".txt", ".jinja"} and old.is_file() and filecmp.cmp(old, new, shallow=False)


def flush_to_disk(folder: Path) -> None:
    """Flush all files of a folder to disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            _flush(path)


def _flush(path: Path) -> None:
    """Flush a file or folder to disk."""
    if path.is_dir():
        if _ON_WINDOWS:
            return
        descriptor = os.open(path, os.O_RDONLY)
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
        os.close(descriptor)
        return
    with path.open("rb+") as file:  # Windows can only flush files open for writing
        os.fsync(file.fileno())
