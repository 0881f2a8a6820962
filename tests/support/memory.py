"""The peak of a process's memory, for programs that a test starts.

`ru_maxrss` would count what the test's own process held when it started the program.
"""

from __future__ import annotations

from pathlib import Path


def peak() -> int:
    """Return this process's peak resident memory in bytes; Linux only."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
