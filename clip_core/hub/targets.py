"""Checks of the paths that users give to write to. Internal."""

from __future__ import annotations

import os
from pathlib import Path

_PAGES = {".html", ".htm"}


def given_path(value: str | os.PathLike[str]) -> Path:
    """Return a path that a user gave.

    Raises:
        ValueError: it is empty, usually because a variable is not set; an empty path would mean the current folder.
    """
    if os.fspath(value) == "":
        raise ValueError("the path is empty; give a folder, a file or a hub id ('.' is the current folder)")
    return Path(value)


def check_folder(name: str, folder: Path) -> None:
    """Check that a folder exists or can be created.

    Args:
        name: the name of the argument that gives it, for the message.
        folder: the folder.

    Raises:
        NotADirectoryError: if the folder or one of its parents is a file.
        PermissionError: if it, or the folder to create it in, is not writable.
    """
    _check_writable(f"{name}={str(folder)!r}", folder)


def _check_writable(given: str, folder: Path) -> None:
    there = next((place for place in (folder, *folder.parents) if place.exists()), Path())
    if not there.is_dir():
        raise NotADirectoryError(f"{given}: {there} is a file; give a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"{given}: permission denied to write to {there}; choose another folder")


def check_page(name: str, page: Path) -> None:
    """Check that a page of HTML can be written, before hours of computation.

    All commands follow one rule: missing folders are created, and an earlier page is replaced, but no other file.

    Args:
        name: the name of the argument that gives it, for the message.
        page: the file.

    Raises:
        IsADirectoryError: if it is a folder.
        FileExistsError: if it is a file that is not called `*.html`.
        NotADirectoryError: if one of its parents is a file.
        PermissionError: if its folder is not writable.
    """
    given = f"{name}={str(page)!r}"
    if page.is_dir():
        raise IsADirectoryError(f"{given} is a folder; give a file")
    if page.exists() and page.suffix.lower() not in _PAGES:
        raise FileExistsError(f"{given} exists, and its name does not end in .html; give another name")
    _check_writable(given, page.parent)


def check_no_dangling_link(path: Path) -> None:
    """Check that a path to write to does not lead through a link to something that does not exist.

    Args:
        path: a path to write to; it need not exist.

    Raises:
        FileNotFoundError: if it does.
    """
    for place in (path, *path.parents):
        if place.is_symlink() and not place.exists():
            raise FileNotFoundError(
                f"{place} is a link to {place.readlink()}, which does not exist; create that folder, or delete the link"
            )
