"""Changes of a file while a test reads it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from converters.formats.mapped import MappedFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


def grow(path: Path) -> None:
    os.truncate(path, path.stat().st_size + 8)


def shrink(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def write_again(path: Path) -> None:
    """Write the same bytes, some time later."""
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))


def replace(path: Path) -> None:
    path.with_name("new").write_bytes(path.read_bytes())
    path.with_name("new").replace(path)


def when_reading_the_third_tensor(monkeypatch: pytest.MonkeyPatch, change: Callable[[], Any]) -> None:
    """Let `change` run before the third tensor of a checkpoint is read, mapped or not."""
    reads = [0]

    def changing(read: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any) -> Any:
            reads[0] += 1
            if reads[0] == 3:
                change()
            return read(*args)

        return wrapped

    for name in ("part", "read_into"):
        monkeypatch.setattr(MappedFile, name, changing(getattr(MappedFile, name)))
