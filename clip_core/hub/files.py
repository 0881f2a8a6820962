"""Atomic file writing: a reader sees the old content or the new, never a mixture."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_core.hub.pointers import check_not_lfs_pointer

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator


# May be left behind by an interrupted save; never read.
STAGING_PREFIX = ".saving-"


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
    """
    there = next((place for place in (folder, *folder.parents) if place.exists()), None)
    if there is not None and not there.is_dir():
        raise NotADirectoryError(f"{name}={str(folder)!r}: {there} is a file; give a folder")


@contextmanager
def staged(folder: str | os.PathLike[str], *, replaces: re.Pattern[str] | None = None) -> Iterator[Path]:
    """Yield a temporary folder whose files move into `folder` if the block succeeds, and are deleted if it fails.

    All slow writing happens before the first file is replaced, and each replacement is a rename within one file system.
    An interruption while writing therefore leaves the old files intact. JSON files move last, because an index must not
    name missing files.

    Args:
        folder: the target folder, created if missing.
        replaces: a pattern of whole file names. Matching old files that were not rewritten, such as the shards of an
            earlier save, are deleted at the end.

    Raises:
        NotADirectoryError: if `folder` is a file.
        ValueError: if `folder` is empty.
    """
    folder = given_path(folder)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; give a folder to save into")
    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=folder))
    try:
        yield staging
        made = sorted((path for path in staging.rglob("*") if path.is_file()), key=lambda p: (p.suffix == ".json", p))
        for path in made:
            _flush_to_disk(path)
        for path in made:
            target = folder / path.relative_to(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
        if replaces is not None:
            new_names = {path.name for path in made}
            for path in folder.iterdir():
                if replaces.fullmatch(path.name) and path.name not in new_names:
                    path.unlink()
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder that is renamed to `path` if the block succeeds, and deleted if it fails.

    Args:
        path: the new folder.

    Raises:
        FileExistsError: if `path` already exists.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} already exists")
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=path.parent))
    made = staging / path.name  # a subfolder, because the staging folder itself is private to its owner
    try:
        made.mkdir()
        yield made
        for file in made.rglob("*"):
            if file.is_file():
                _flush_to_disk(file)
        made.rename(path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file (UTF-8) atomically.

    Args:
        path: the file.
        text: its content.
    """
    path = Path(path)
    with staged(path.parent) as staging:
        (staging / path.name).write_text(text, encoding="utf-8")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file; errors name the file.

    Args:
        path: the file.

    Raises:
        ValueError: if the file is not JSON in UTF-8, such as a Git LFS pointer.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        check_not_lfs_pointer(Path(path))
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def read_json_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON file that has to hold an object; errors name the file.

    Args:
        path: the file.

    Raises:
        ValueError: if the file is not JSON in UTF-8, or holds something else.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a JSON object")  # noqa: TRY004  the file is at fault
    return content


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:  # Windows can only flush files open for writing
        os.fsync(file.fileno())
