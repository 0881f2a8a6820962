"""The folders that the targets write their inputs to."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path


@cache
def folder(name: str) -> Path:
    """Return a folder of this process."""
    made = Path(tempfile.mkdtemp(prefix=f"clip-zoo-{name}-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made
