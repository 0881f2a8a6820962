"""Writing files so that a reader sees the old content or the new, and never half of either."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator


# What an interrupted save may leave behind; nothing reads it.
STAGING_PREFIX = ".saving-"


@contextmanager
def staged(folder: str | os.PathLike[str], *, replaces: re.Pattern[str] | None = None) -> Iterator[Path]:
    """A temporary folder whose files move into `folder` when the block ends well, and vanish when it does not.

    All the slow writing happens before the first file is replaced, and each replacement is one rename on one file
    system, so that an interruption leaves the old files whole. JSON files move last: an index names other files, which
    have to be there. Files whose names `replaces` matches whole, and which were not made anew, are removed after that:
    the shards of an earlier save, for one.
    """
    folder = Path(folder)
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
    """A temporary folder that becomes `path` when the block ends well, in one rename, and vanishes when it does not.

    Raises:
        FileExistsError: there is something at `path` already.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} is there already")
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=path.parent))
    made = staging / path.name  # with the usual permissions, where the one around it is for its owner alone
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
    """Write a text file (UTF-8) atomically."""
    path = Path(path)
    with staged(path.parent) as staging:
        (staging / path.name).write_text(text, encoding="utf-8")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file; an error names the file.

    Raises:
        ValueError: the file is not JSON in UTF-8.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:  # Windows flushes only what is open for writing
        os.fsync(file.fileno())
