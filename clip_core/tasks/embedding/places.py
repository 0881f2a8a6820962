"""Folders behind fsspec: on a disk, in object storage or in memory. Files appear in them whole, or not at all."""

from __future__ import annotations

import json
import os
import secrets
import socket
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_core.hub.files import (
    LARGEST_JSON,
    TooLargeError,
    check_no_device,
    scratch_folder,
    telling_of_a_full_disk,
)
from clip_core.hub.owning import owned
from clip_core.hub.printing import printable, reason_of
from clip_core.hub.targets import check_folder, given_path

if TYPE_CHECKING:
    from collections.abc import Iterator

# A file uploaded to these does not appear until it is complete.
_UPLOADS_WHOLE = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci", "memory"}
_TEMPORARY = ".tmp"
RUNNING = "running.json"  # names the process that writes to a remote folder


def arrow() -> Any:
    """Return the module `pyarrow`.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.types  # not loaded by pyarrow itself
    except ImportError as error:
        raise ImportError("embedding to Parquet needs pyarrow; pip install 'clip-zoo[embed]'") from error
    return pa


@contextmanager
def reached(place: str | os.PathLike[str]) -> Iterator[None]:
    """Name a place in the errors of the network in this block, which name neither file nor host.

    Args:
        place: the path or URL.
    """
    try:
        yield
    except OSError as error:
        if error.strerror is None or error.filename is not None:
            raise
        raise OSError(f"{os.fspath(place)}: {reason_of(error)}") from error


@dataclass(frozen=True)
class Location:
    """A file or folder of a file system.

    Attributes:
        files: the file system, of fsspec.
        root: the path in it.
    """

    files: Any
    root: str

    @classmethod
    def open(cls, url: str | os.PathLike[str]) -> Location:
        """Return the place of a path or a URL; it need not exist.

        Args:
            url: a path, or a URL such as "s3://bucket/folder".

        Raises:
            ValueError: if it is empty, or nothing is known of its protocol.
            ImportError: if its protocol needs a package that is not installed.
        """
        from fsspec.core import url_to_fs

        text = os.fspath(given_path(url)) if not isinstance(url, str) else url
        if not text:
            given_path(text)  # raises the error
        try:
            files, root = url_to_fs(text)
        except ValueError as error:
            raise ValueError(f"{text}: {error}; give a path, or a URL of another protocol") from error
        except ImportError as error:  # fsspec names the package, but not the URL
            raise ImportError(f"{text}: {error}") from error
        return cls(files, root.rstrip("/") or "/")

    @property
    def is_local(self) -> bool:
        """True on a disk of this machine."""
        return "file" in self.protocols

    @property
    def protocols(self) -> tuple[str, ...]:
        """The names of the protocol, as URLs begin with them."""
        protocol = self.files.protocol
        return (protocol,) if isinstance(protocol, str) else tuple(protocol)

    def path(self, name: str) -> str:
        """Return the path of a file in the folder.

        Args:
            name: its name, relative to the folder.
        """
        return f"{self.root}/{name}"

    def shown(self, path: str) -> str:
        """Return a path as messages and tables show it: with the protocol if it is not local.

        Args:
            path: a path of the file system.
        """
        return path if self.is_local else str(self.files.unstrip_protocol(path))

    def reading(self, path: str) -> Any:
        """Return an open file.

        Args:
            path: its path in the file system.

        Raises:
            ValueError: if it is a pipe or a device of this machine.
            OSError: if it cannot be read.
        """
        if self.is_local:
            check_no_device(path)
        return self.files.open(path, "rb")

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a subfolder, sorted; none if it is missing.

        Args:
            folder: the name of the subfolder.
        """
        self.files.invalidate_cache()
        try:
            return sorted(path.rpartition("/")[2] for path in self.files.ls(self.path(folder), detail=False))
        except FileNotFoundError:
            return []

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Return the content of a JSON file; None if it is missing.

        Args:
            name: its name.

        Raises:
            ValueError: if it is not a JSON object.
        """
        where = self.shown(self.path(name))
        if self.is_local:
            check_no_device(self.path(name))
        try:
            with reached(self.shown(self.root)):
                text = self.files.cat_file(self.path(name), start=0, end=LARGEST_JSON + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if len(text) > LARGEST_JSON:
            raise TooLargeError(f"{where} is larger than {LARGEST_JSON} bytes, unlike any file of its kind")
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where} is not valid JSON: {printable(error)}") from error
        if not isinstance(content, dict):
            raise ValueError(f"{where} is not a JSON object")  # noqa: TRY004  the file is at fault
        return content

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write a JSON file.

        Args:
            name: its name.
            content: its content.
        """
        with self.written_whole(name) as path:
            path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def remove(self, name: str) -> None:
        """Remove a file, if it is there.

        Args:
            name: its name.
        """
        with suppress(FileNotFoundError):
            self.files.rm_file(self.path(name))

    @contextmanager
    def written_whole(self, name: str) -> Iterator[Path]:
        """Yield a local path; the file that the block writes there appears in the folder if the block succeeds.

        Args:
            name: the name of the file, possibly in a subfolder.
        """
        target = self.path(name)
        folder, _, short = target.rpartition("/")
        unfinished = f"{folder}/.{short}.{secrets.token_hex(4)}{_TEMPORARY}"
        if self.is_local:
            os.makedirs(folder, exist_ok=True)  # noqa: PTH103  all paths here are texts
            written = Path(unfinished)
            with telling_of_a_full_disk(Path(target)):
                try:
                    yield written
                    with written.open("rb+") as file:
                        os.fsync(file.fileno())
                    written.replace(target)
                finally:
                    written.unlink(missing_ok=True)
            return
        with scratch_folder("clip-zoo-embed-") as scratch:
            written = scratch / short
            yield written
            self.files.makedirs(folder, exist_ok=True)
            if _UPLOADS_WHOLE.intersection(self.protocols):
                self.files.put_file(str(written), target)
            else:
                self.files.put_file(str(written), unfinished)
                self.files.mv(unfinished, target)

    def remove_unfinished(self, folder: str) -> None:
        """Remove what interrupted writes left in a subfolder.

        Args:
            folder: its name.
        """
        for name in self.names(folder):
            if name.startswith(".") and name.endswith(_TEMPORARY):
                self.remove(f"{folder}/{name}")

    @contextmanager
    def owned(self, task: str) -> Iterator[None]:
        """Own the folder: create it, and refuse another process that writes to it in the meantime.

        A folder that is still empty afterwards is removed.

        Args:
            task: the task, such as "an embedding", for the message that another process prints.

        Raises:
            BlockingIOError: if another process owns the folder; the message names it.
            NotADirectoryError: if it is a file.
            PermissionError: if it may not be written.
        """
        if self.is_local:
            folder = Path(self.root)
            check_folder("out", folder)
            folder.mkdir(parents=True, exist_ok=True)
            try:
                with owned(folder, task):
                    yield
            finally:
                with suppress(OSError):
                    folder.rmdir()
            return
        self._check_not_running()
        self.write_json(RUNNING, {"task": task, "process": os.getpid(), "host": socket.gethostname()})
        try:
            yield
        finally:
            self.remove(RUNNING)

    def _check_not_running(self) -> None:
        """Refuse a remote folder that another process says it is writing to. A dead one on this machine is ignored."""
        owner = self.read_json(RUNNING)
        if owner is None:
            return
        process, host = owner.get("process"), owner.get("host")
        if host == socket.gethostname() and isinstance(process, int) and not _is_alive(process):
            return
        told = printable(f"{owner.get('task')} (process {process} on {host})")
        raise BlockingIOError(
            f"{self.shown(self.root)}: {told} is writing to it; wait until it ends, or choose another folder. If it "
            f"was killed, delete {self.shown(self.path(RUNNING))}"
        )


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # alive, but owned by another user
        return True
    return True
