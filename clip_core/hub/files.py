"""Atomic file writing: a reader sees the old content or the new, never a mixture."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import re
import stat
import tempfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_core.hub.pointers import check_not_lfs_pointer
from clip_core.hub.printing import printable, reason_of
from clip_core.hub.switching import flush_to_disk, switch, temporary_folder
from clip_core.hub.targets import check_no_dangling_link, given_path

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # a quota and the largest size of a file are limits too

LARGEST_JSON = 2**23  # bytes; CLIP's tokenizer.json has 2 MB


@contextmanager
def telling_of_a_full_disk(path: Path) -> Iterator[None]:
    """Name the file or folder that the block writes, and what to do, in an error about a full disk.

    Args:
        path: the file or folder.

    Raises:
        OSError: if the disk is full.
    """
    try:
        yield
    except OSError as error:
        # h5py gives the number only in its message, and numpy gives none.
        found = re.search(r"errno = (\d+)", str(error))
        is_cut = re.fullmatch(r"\d+ requested and \d+ written", str(error)) is not None
        number = error.errno or (int(found[1]) if found else errno.ENOSPC if is_cut else 0)
        if number not in FULL_DISK:
            raise
        raise OSError(
            number, f"{os.strerror(number)}; free some space, or choose another disk. Nothing was changed", str(path)
        ) from error


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """Yield a folder for temporary files, and delete it.

    Args:
        prefix: the beginning of its name.

    Raises:
        FileNotFoundError: if there is no folder that temporary files can be written to.
        OSError: if its disk is full.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix=prefix)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{reason_of(error)}; set TMPDIR to a folder with free space") from error
    with folder as path:
        try:
            yield Path(path)
        except OSError as error:
            if error.errno not in FULL_DISK or not str(error.filename).startswith(path):
                raise
            advice = "free some space, or set TMPDIR to a folder on another disk"
            raise OSError(error.errno, f"{os.strerror(error.errno)}; {advice}", str(Path(path).parent)) from error


@contextmanager
def staged(folder: str | os.PathLike[str], *, replaces: re.Pattern[str] | None = None) -> Iterator[Path]:
    """Yield a temporary folder whose files move into `folder` if the block succeeds, and are deleted if it fails.

    The files move as one step: if the process is killed, readers get all old files or all new ones; see
    `clip_core.hub.switching`. Of two processes that save into one folder, the last one to finish replaces all files of
    the other.

    Args:
        folder: the target folder, created if missing.
        replaces: a pattern of whole file names. Matching old files that were not rewritten, such as the shards of an
            earlier save, are deleted in the same step.

    Raises:
        NotADirectoryError: if `folder` is a file.
        FileNotFoundError: if `folder` is a link to something that does not exist.
        OSError: if the disk is full.
        ValueError: if `folder` is empty.
    """
    folder = given_path(folder)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; give a folder to save into")
    check_no_dangling_link(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with telling_of_a_full_disk(folder), temporary_folder(folder) as staging:
        yield staging
        switch(folder, staging, replaces)


def pattern_of(names: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern for `staged` that matches some names.

    Args:
        names: names of files; a subfolder's name with a slash at the end matches all files in it.
    """
    return re.compile("|".join(re.escape(name) + (".*" if name.endswith("/") else "") for name in names))


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder that is renamed to `path` if the block succeeds, and deleted if it fails.

    Args:
        path: the new folder.

    Raises:
        FileExistsError: if `path` already exists, or another process creates it in the meantime.
        FileNotFoundError: if `path` leads through a link to something that does not exist.
        OSError: if the disk is full.
    """
    path = Path(path)
    check_no_dangling_link(path)
    if path.exists():
        raise FileExistsError(f"{path} already exists")
    path.parent.mkdir(parents=True, exist_ok=True)
    with telling_of_a_full_disk(path), temporary_folder(path.parent) as staging:
        made = staging / path.name  # a subfolder, because the staging folder itself is private to its owner
        made.mkdir()
        yield made
        flush_to_disk(made)
        try:
            made.rename(path)
        except OSError as error:
            if not path.exists():
                raise
            raise FileExistsError(f"{path} was created by another process in the meantime") from error


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file (UTF-8) atomically.

    Args:
        path: the file.
        text: its content.
    """
    path = Path(path)
    write_texts(path.parent, {path.name: text})


def write_texts(
    folder: str | os.PathLike[str], texts: Mapping[str, str], replaces: Collection[str] = (), prefix: str = ""
) -> tuple[str, ...]:
    """Write several text files (UTF-8) into a folder as one step; see `staged`.

    Args:
        folder: the folder, created if missing.
        texts: their contents by name; a name may start with a subfolder.
        replaces: names of old files to delete unless they are written; see `pattern_of`.
        prefix: put this before all names.

    Returns:
        The paths of the files.
    """
    old = pattern_of(prefix + name for name in replaces) if replaces else None
    with staged(folder, replaces=old) as staging:
        for name, text in texts.items():
            (staging / (prefix + name)).parent.mkdir(exist_ok=True)
            (staging / (prefix + name)).write_text(text, encoding="utf-8")
    return tuple(str(Path(folder) / (prefix + name)) for name in texts)


def json_text(
    content: Mapping[str, Any], *, ascii_only: bool = True, default: Callable[[Any], Any] | None = None
) -> str:
    """Return the content of a JSON file: its keys in order, indented.

    Args:
        content: the object.
        ascii_only: escape all other characters.
        default: converts values that JSON lacks.
    """
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=ascii_only, default=default) + "\n"


def read_json(
    path: str | os.PathLike[str],
    largest: int = LARGEST_JSON,
    check: Callable[[list[tuple[str, Any]]], dict[str, Any]] | None = None,
) -> Any:
    """Read a JSON file; errors name the file.

    Args:
        path: the file.
        largest: its largest size in bytes; the values take up to 25 times as much memory.
        check: makes a dict of the keys and values of each object, such as `unique`; by default, the last of equal keys
            counts.

    Raises:
        ValueError: if the file is not JSON in UTF-8, such as a Git LFS pointer, or is larger.
    """
    path = Path(path)
    try:
        return json.loads(read_bytes(path, largest).decode(), object_pairs_hook=check)
    except (ValueError, RecursionError) as error:
        check_not_lfs_pointer(path)
        if isinstance(error, TooLargeError):
            raise
        raise ValueError(f"{printable(path)} is not valid JSON: {printable(error)}") from error


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the keys and values of a JSON object as a dict; `json` takes it as `object_pairs_hook`.

    Args:
        pairs: the keys and values, in the order of the file.

    Raises:
        ValueError: if two keys are equal: programs may differ in the one that they take.
    """
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {printable(repr(key))} occurs twice in one object")
        found[key] = value
    return found


class TooLargeError(ValueError):
    """An error about a file that is larger than any of its kind."""


def check_no_device(path: str | os.PathLike[str]) -> None:
    """Check that a path is not a pipe, a socket or a device: a pipe waits for a writer, and a device may have no end.

    Args:
        path: the path; a missing one is not an error.

    Raises:
        ValueError: if it is one.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116  paths of fsspec are texts
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ValueError(f"{printable(path)}: a pipe, a socket or a device; expected a regular file")


def read_bytes(path: Path, largest: int) -> bytes:
    """Return the content of a small file.

    Args:
        path: the file.
        largest: its largest size in bytes.

    Raises:
        TooLargeError: if it is larger.
    """
    with path.open("rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise TooLargeError(f"{printable(path)} is larger than {largest} bytes, unlike any file of its kind")
    return content


def read_lines(path: str | os.PathLike[str], kind: str) -> list[str]:
    """Return the lines of a text file in UTF-8, gzipped if its name ends in .gz.

    Args:
        path: the file. A gzipped one is read up to `LARGEST_JSON` bytes of text.
        kind: the usual name of such a file, for messages.

    Raises:
        ValueError: if it is not such a file, or larger.
    """
    path = Path(path)
    check_not_lfs_pointer(path)
    content = read_bytes(path, LARGEST_JSON)
    try:
        if path.suffix == ".gz":
            with gzip.open(io.BytesIO(content)) as file:
                content = file.read(LARGEST_JSON)
        return content.decode("utf-8").replace("\r\n", "\n").split("\n")
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise ValueError(f"{path} is not a {kind}: {printable(error)}") from error


def read_json_object(path: str | os.PathLike[str], largest: int = LARGEST_JSON) -> dict[str, Any]:
    """Read a JSON file that has to hold an object; errors name the file.

    Args:
        path: the file.
        largest: its largest size in bytes.

    Raises:
        ValueError: if the file is not JSON in UTF-8, or holds something else.
    """
    content = read_json(path, largest)
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a JSON object")  # noqa: TRY004  the file is at fault
    return content
