"""The states of a folder that a kill at any moment of a save would leave."""

from __future__ import annotations

import shutil
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from support.imports import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Before these, the audit hook runs; before a line of our own code, the trace function does.
_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate")
_OURS = tuple(
    str(ROOT / place)
    for place in ("clip_core/hub/", "clip_core/training/", "converters/writing", "converters/formats/")
)

_recording: list[Snapshots] = []


class Snapshots:
    """Copies of a folder, taken before each write, rename and removal, and before each line of our own code.

    A write is a line of our own code; what Python or a library holds in a buffer then would be lost by a kill, too.

    Attributes:
        moments: the number of moments at which a kill was tried.
        states: the copies; equal ones are kept once.
    """

    def __init__(self, folder: Path, kept: Path) -> None:
        self.folder, self.kept = folder, kept
        self.moments = 0
        self._seen: dict[tuple[Any, ...], Path] = {}
        self._busy = False

    @property
    def states(self) -> list[Path]:
        return list(self._seen.values())

    def take(self) -> None:
        """Copy the folder, unless it is as it was before."""
        if self._busy or not self.folder.exists():
            return
        self._busy = True
        self.moments += 1
        key = tuple(
            (path.relative_to(self.folder).as_posix(), status.st_ino, status.st_size, status.st_mtime_ns)
            for path in sorted(self.folder.rglob("*"))
            for status in [path.lstat()]
            if not path.is_dir()
        )
        if key not in self._seen:
            self._seen[key] = self.kept / f"state-{len(self._seen)}"
            shutil.copytree(self.folder, self._seen[key])
        self._busy = False

    def trace(self, frame: Any, event: str, _: Any) -> Any:
        """Follow our own code, line by line."""
        if event == "call" and not frame.f_code.co_filename.startswith(_OURS):
            return None
        self.take()
        return self.trace


@contextmanager
def snapshots(folder: Path, kept: Path) -> Iterator[Snapshots]:
    """Record the states of a folder while the block runs, into copies under `kept`."""
    found = Snapshots(folder, kept)
    if _audit not in _installed:
        sys.addaudithook(_audit)  # it cannot be removed
        _installed.append(_audit)
    before = sys.gettrace()
    _recording.append(found)
    sys.settrace(found.trace)
    try:
        yield found
    finally:
        sys.settrace(before)
        _recording.remove(found)
    found.take()


_installed: list[Any] = []


def _audit(event: str, _: tuple[Any, ...]) -> None:
    if _recording and event in _EVENTS:
        for found in _recording:
            found.take()
