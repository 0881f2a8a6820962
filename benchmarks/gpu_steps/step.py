"""Steps of the GPU benchmark: units of work, recorded one by one."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import checkpoints

from clip_core.configuration import CLIPConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from report import Report

Record = dict[str, Any]  # JSON values only
_PRINTED = 3000  # characters


@dataclass(frozen=True)
class Job:
    """The settings shared by all steps.

    Attributes:
        scratch: a temporary folder for checkpoints.
        rehearse: run all code on a CPU, with tiny models and stand-ins for the kernels; the figures mean nothing.
        budget: seconds for the turns of one case.
        end: the deadline, on the clock of `time.monotonic`.
    """

    scratch: Path
    rehearse: bool = False
    budget: float = 20.0
    end: float = math.inf

    def patience(self, seconds: float) -> float:
        """Return the timeout for work estimated at `seconds`: twice that, if there is time."""
        return max(1.0, min(2 * seconds * (3 if self.rehearse else 1), self.end - time.monotonic()))

    @property
    def device(self) -> str:
        """The device, as PyTorch and JAX name it."""
        return "cpu" if self.rehearse else "cuda"

    @property
    def config(self) -> CLIPConfig:
        """The model's configuration: ViT-L/14."""
        return CLIPConfig(**(checkpoints.TINY if self.rehearse else checkpoints.VIT_L_14))

    @property
    def checkpoint(self) -> Path:
        """The checkpoint's folder, written on first use."""
        folder = self.scratch / "checkpoint"
        if not folder.exists():
            checkpoints.write_random(folder, self.config)
        return folder


@dataclass(frozen=True)
class Unit:
    """A piece of work whose result survives if the next piece is interrupted.

    Attributes:
        name: unique within its step.
        seconds: estimated maximum duration.
    """

    name: str
    seconds: float


def run_program(command: Sequence[str], patience: float, **options: Any) -> tuple[int | None, str]:
    """Run a program, killing it and its children after `patience` seconds.

    Returns:
        Its exit code, None if it was killed, and the end of its output.
    """
    process = subprocess.Popen(  # noqa: S603
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **options,
    )
    try:
        printed, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        printed, _ = process.communicate()
        return None, f"{printed[-_PRINTED:]}\nkilled after {patience:.0f} s"
    return process.returncode, printed[-_PRINTED:]


class Step(Protocol):
    """One step.

    Attributes:
        name: name on the command line.
        title: the quantity measured.
        start_seconds: maximum time before its first unit starts.
    """

    name: str
    title: str
    start_seconds: float

    def units(self, job: Job) -> Sequence[Unit]:
        """Return the units, in running order."""
        ...

    def run(self, job: Job, names: Sequence[str]) -> Iterator[tuple[str, Record]]:
        """Run the named units, and yield each with its record when done."""
        ...

    def describe(self, records: Mapping[str, Record], report: Report) -> None:
        """Add tables, targets and notes about the records to the report."""
        ...
