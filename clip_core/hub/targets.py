"""The paths that users give, and checks of those to write to. Internal."""

from __future__ import annotations

import os
from pathlib import Path

from clip_core.hub.printing import reason_of
from clip_core.hub.switching import temporary_folder

_PAGES = {".html", ".htm"}


def given_path(value: str | os.PathLike[str]) -> Path:
    """Return a path that a user gave.

    Raises:
        ValueError: it is empty, usually because a variable is not set; an empty path would mean the current folder.
    """
    if os.fspath(value) == "":
        raise ValueError("the path is empty; give a folder, a file or a hub id ('.' is the current folder)")
    return Path(value)


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with the home folder in place of `~`; that of an unknown user is left as it is, as shells do.

    Args:
        path: the path.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111  which raises a RuntimeError for an unknown user


def check_folder(name: str, folder: Path) -> None:
    """Check that a folder exists or can be created.

    Args:
        name: the name of the argument that gives it, for the message.
        folder: the folder, as it was given.

    Raises:
        NotADirectoryError: if the folder or one of its parents is a file.
        FileNotFoundError: if it leads through a link to something that does not exist.
        OSError: if nothing can be created in it, or in the folder to create it in; usually a PermissionError.
    """
    given = f"{name}={str(folder)!r}"
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{given} is a file; give a folder")
    check_no_dangling_link(folder, given)
    _check_writable(given, folder)


def check_page(name: str, page: Path) -> None:
    """Check that a page of HTML can be written, before hours of computation.

    All commands follow one rule: missing folders are created, and an earlier page is replaced, but no other file.

    Args:
        name: the name of the argument that gives it, for the message.
        page: the file, as it was given.

    Raises:
        IsADirectoryError: if it is a folder.
        FileExistsError: if it is a file that is not called `*.html`.
        NotADirectoryError: if one of its parents is a file.
        FileNotFoundError: if it leads through a link to something that does not exist.
        OSError: if nothing can be created in its folder; usually a PermissionError.
    """
    given = f"{name}={str(page)!r}"
    if page.is_dir():
        raise IsADirectoryError(f"{given} is a folder; give a file")
    if page.exists() and page.suffix.lower() not in _PAGES:
        raise FileExistsError(f"{given} exists, and its name does not end in .html; give another name")
    check_no_dangling_link(page, given)
    _check_writable(given, page.parent)


def _check_writable(given: str, folder: Path) -> None:
    """Check that something can be created in a folder, or in the innermost of its parents that exists.

    By doing it: root passes the system's check of permissions even in /proc and on a read-only disk.
    """
    there = next((place for place in (folder, *folder.parents) if place.exists()), Path())
    if not there.is_dir():
        raise NotADirectoryError(f"{given} leads through {there}, which is a file; give another path")
    try:
        with temporary_folder(there):
            pass
    except OSError as error:
        raise type(error)(f"{given} cannot be written: {reason_of(error)} in {there}; give another path") from error


def check_no_dangling_link(path: Path, given: str | None = None) -> None:
    """Check that a path does not lead through a link to something that does not exist.

    Args:
        path: the path; it need not exist.
        given: the path and the name of the argument that gives it, for the message; by default the path alone.

    Raises:
        FileNotFoundError: if it does.
    """
    for place in (path, *path.parents):
        if place.is_symlink() and not place.exists():
            how = "is" if place == path else f"leads through {place},"
            raise FileNotFoundError(
                f"{given or path} {how} a link to {place.readlink()}, which does not exist; create its target, or "
                "delete the link"
            )
