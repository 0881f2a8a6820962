"""Programs in processes of their own, which find our packages and the tests' own modules."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]


def environment(**more: str) -> dict[str, str]:
    """Return the environment of this process with our packages on the path, and more variables."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests"))), **more}


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for a condition to hold.

    Args:
        condition: returns a true value when it does.
        seconds: the longest time.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_alive(pid: int | str) -> bool:
    """Return True if a process runs, read from /proc; a zombie does not.

    Args:
        pid: its id.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
