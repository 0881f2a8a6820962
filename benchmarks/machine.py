"""Measurement environment: the machine, the date and the versions, as recorded in every result."""

from __future__ import annotations

import datetime as dt
import math
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("clip-zoo", "numpy", "torch", "tensorflow-cpu", "tensorflow", "keras", "jax", "flax", "transformers")
# Flags of Linux, the widest first.
_INSTRUCTIONS = {"amx_tile": "AVX-512, AMX", "avx512f": "AVX-512", "avx2": "AVX2"}
_CPU, _MEMORY = Path("/proc/cpuinfo"), Path("/proc/meminfo")


def threads() -> int:
    """Return the number of threads available to this process, which every peer gets too."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, str]:
    """Return the processor, its cores, the memory and the system."""
    return {
        "processor": _processor(),
        "cores": str(threads()),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def today() -> str:
    """Return the date, UTC."""
    return dt.datetime.now(dt.UTC).date().isoformat()


def versions() -> dict[str, str]:
    """Return the package versions of this environment; workers in other environments report their own."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def resident(process: int | str = "self") -> int:
    """Return the resident memory of a process in bytes, as Linux states it.

    Args:
        process: its number; by default this process.
    """
    return int(Path(f"/proc/{process}/status").read_text().partition("VmRSS:")[2].split()[0]) << 10


def processor_seconds(process: int | str = "self") -> float:
    """Return the processor time of a process and its ended children in seconds, as Linux states it; NaN elsewhere.

    Args:
        process: its number; by default this process.
    """
    file = Path(f"/proc/{process}/stat")
    if not file.exists():
        return math.nan
    fields = file.read_text().rpartition(")")[2].split()  # the name before it may hold anything
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _processor() -> str:
    """Return the processor's name with the widest vector instructions that it has."""
    flags = re.search(r"^flags\s*:(.+)$", _CPU.read_text(), re.MULTILINE) if _CPU.exists() else None
    there = set(flags.group(1).split()) if flags else set()
    found = [name for flag, name in _INSTRUCTIONS.items() if flag in there]
    return _name() + (f" ({found[0]})" if found else "")


def _name() -> str:
    match = re.search(r"^model name\s*:\s*(.+)$", _CPU.read_text(), re.MULTILINE) if _CPU.exists() else None
    return match.group(1) if match else platform.processor() or platform.machine()


def _memory() -> str:
    match = re.search(r"^MemTotal:\s*(\d+) kB$", _MEMORY.read_text(), re.MULTILINE) if _MEMORY.exists() else None
    return f"{int(match.group(1)) / 1024**2:.0f} GB" if match else "unknown"
