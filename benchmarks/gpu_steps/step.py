"""Steps of the measurements on a GPU: units of work that are recorded one by one."""

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

Record = dict[str, Any]  # what JSON can hold
_PRINTED = 3000  # characters


@dataclass(frozen=True)
class Job:
    """The circumstances that all steps share.

    Attributes:
        scratch: a folder for checkpoints, removed afterwards.
        rehearse: run every line on a CPU, with tiny models and stand-ins for the kernels; the numbers mean nothing.
        budget: seconds for the turns of one case.
        end: when everything has to be done, on the clock of `time.monotonic`.
    """

    scratch: Path
    rehearse: bool = False
    budget: float = 20.0
    end: float = math.inf

    def patience(self, seconds: float) -> float:
        """Return how long to wait for what should take so many seconds: twice that, if there is time."""
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
        """The folder of the checkpoint, which is written when it is first asked for."""
        folder = self.scratch / "checkpoint"
        if not folder.exists():
            checkpoints.write_random(folder, self.config)
        return folder


@dataclass(frozen=True)
class Unit:
    """A piece of work whose result is kept if the next piece is cut off.

    Attributes:
        name: unique within its step.
        seconds: the most that it should take, as far as its work can be counted.
    """

    name: str
    seconds: float


def run_program(command: Sequence[str], patience: float, **options: Any) -> tuple[int | None, str]:
    """Run a program, ending it with all that it started if it takes longer.

    Returns:
        Its exit code, None where it was ended, and the end of what it printed.
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
        return None, f"{printed[-_PRINTED:]}\nended after {patience:.0f} s"
    return process.returncode, printed[-_PRINTED:]


class Step(Protocol):
    """One step.

    Attributes:
        name: how a person asks for it.
        title: what it measures.
        start_seconds: how long it takes at most before its first unit begins.
    """

    name: str
    title: str
    start_seconds: float

    def units(self, job: Job) -> Sequence[Unit]:
        """Return the units in the order in which they are run."""
        ...

    def run(self, job: Job, names: Sequence[str]) -> Iterator[tuple[str, Record]]:
        """Run the units of these names, and yield each with its record once it is done."""
        ...

    def describe(self, records: Mapping[str, Record], report: Report) -> None:
        """Add tables, goals and notes about the records to the report."""
        ...
