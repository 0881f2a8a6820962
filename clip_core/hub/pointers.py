"""Git LFS pointers: the short texts that replace large files in a clone made without Git LFS."""

from __future__ import annotations

from pathlib import Path

LFS_ADVICE = "this is a Git LFS pointer; run git lfs pull to get the file itself"

_START = b"version https://git-lfs.github.com/spec/"


def is_lfs_pointer(content: Path | bytes) -> bool:
    """Return True for a Git LFS pointer.

    Args:
        content: a file, or its bytes.
    """
    if isinstance(content, Path):
        try:
            with content.open("rb") as file:
                content = file.read(len(_START))
        except OSError:
            return False
    return content.startswith(_START)


def check_not_lfs_pointer(path: Path) -> None:
    """Check that a file is not a Git LFS pointer.

    Args:
        path: the file.

    Raises:
        ValueError: if it is one; the message names it and says what to do.
    """
    if is_lfs_pointer(path):
        raise ValueError(f"{path}: {LFS_ADVICE}")
