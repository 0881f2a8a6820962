"""What a measurement was taken on: the machine, the date and the versions, as every result says them."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("clip-zoo", "numpy", "torch", "tensorflow-cpu", "tensorflow", "keras", "jax", "flax", "transformers")
_CPU, _MEMORY = Path("/proc/cpuinfo"), Path("/proc/meminfo")


def threads() -> int:
    """How many threads this process may run at once, which every peer is given alike."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, str]:
    """The processor, its cores, the memory and the system."""
    return {
        "processor": _processor(),
        "cores": str(threads()),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def today() -> str:
    """The date, UTC."""
    return dt.datetime.now(dt.UTC).date().isoformat()


def versions() -> dict[str, str]:
    """Those of this environment; workers of other environments tell their own."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    told = re.search(r"^model name\s*:\s*(.+)$", _CPU.read_text(), re.MULTILINE) if _CPU.exists() else None
    return told.group(1) if told else platform.processor() or platform.machine()


def _memory() -> str:
    told = re.search(r"^MemTotal:\s*(\d+) kB$", _MEMORY.read_text(), re.MULTILINE) if _MEMORY.exists() else None
    return f"{int(told.group(1)) / 1024**2:.0f} GB" if told else "unknown"
