"""What a step of the measurements on a GPU is: units of work that are recorded one by one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import checkpoints

from clip_core.configuration import CLIPConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from report import Report

Record = dict[str, Any]  # what JSON can hold


@dataclass(frozen=True)
class Job:
    """Where and how thoroughly all steps measure.

    Attributes:
        scratch: a folder for checkpoints, removed afterwards.
        rehearse: run every line on a CPU, with tiny models and stand-ins for the kernels; the numbers mean nothing.
        budget: seconds for the turns of one case.
    """

    scratch: Path
    rehearse: bool = False
    budget: float = 20.0

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


@dataclass
class Found:
    """What a report is made of: the records of one step by unit, in the order of the units."""

    records: dict[str, Record] = field(default_factory=dict)

    @property
    def whole(self) -> dict[str, Record]:
        """The records of the units that did not fail."""
        return {name: record for name, record in self.records.items() if "failed" not in record}


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
