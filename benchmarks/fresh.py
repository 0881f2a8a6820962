"""Fresh processes, run in turns, so that earlier runs cannot affect a measurement."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from timing import orders

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

_STATUS = Path("/proc/self/status")
_KIB = 1024  # the unit of the system's memory figures
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}


@dataclass(frozen=True)
class Run:
    """The result of one process: its output, its wall time and its CPU time, in seconds."""

    output: str
    wall: float
    processor: float


def run(*arguments: str) -> Run:
    """Run Python with these arguments.

    Raises:
        RuntimeError: if the process fails; the message ends with its error output.
    """
    before, start = _processor_time(), time.perf_counter()
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "ignore", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **_QUIET},
    )
    wall, processor = time.perf_counter() - start, _processor_time() - before
    if done.returncode:
        raise RuntimeError(f"python {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return Run(done.stdout, wall, processor)


def in_turns(works: dict[str, Callable[[], Result]], repeats: int) -> dict[str, list[Result]]:
    """Run every function once per round."""
    results: dict[str, list[Result]] = {name: [] for name in works}
    for order in orders(works, repeats):
        for name in order:
            results[name].append(works[name]())
    return results


def spread(values: list[float]) -> float:
    """Return (maximum - minimum) / median, for too few values to use percentiles."""
    return (max(values) - min(values)) / statistics.median(values)


def peak_memory() -> int:
    """Return this process's peak resident memory so far, in bytes.

    `ru_maxrss` would include the parent's memory from before exec.
    """
    if _STATUS.exists():
        return int(_STATUS.read_text().partition("VmHWM:")[2].split()[0]) * _KIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB


def _processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
