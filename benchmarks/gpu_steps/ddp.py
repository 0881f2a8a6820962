"""Training steps under DistributedDataParallel with NCCL in one process: gradients, and DDP's overhead."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from goals import at_most
from report import Table, milliseconds
from targets import ROOT

from gpu_steps.comparison import MEGABYTE
from gpu_steps.step import Unit, run_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from report import Report

    from gpu_steps.step import Job, Record

_PROGRAM = ROOT / "benchmarks" / "adapters" / "ddp_step.py"
_SECONDS = 150.0
_PAIRS = 32
_GRADIENTS = 1e-4  # float32, relative to the largest gradient: summation order differs


class DistributedStep:
    """A step; see `Step`."""

    name = "ddp"
    title = "Training under DDP"
    start_seconds = 0.0

    def units(self, job: Job) -> list[Unit]:  # noqa: ARG002
        """Return the only unit."""
        return [Unit(f"{_PAIRS} pairs", _SECONDS)]

    def run(self, job: Job, names: Sequence[str]) -> Iterator[tuple[str, Record]]:
        """Run the program under `torchrun`."""
        for name in names:
            print(f"{self.name}: {name}", flush=True)
            yield name, _run_program(job)

    def describe(self, records: Mapping[str, Record], report: Report) -> None:
        """See `Step`."""
        rows = []
        for name, record in records.items():
            for way, found in record["ways"].items():
                cells = [milliseconds(found["median"], found["spread"]), f"{found['peak'] / MEGABYTE:.0f}"]
                rows.append([f"{way}, {name}, {record['backend']}", *cells])
            what = "gradients with and without DDP: largest difference, relative to the largest gradient"
            report.goals.append(at_most(what, record["difference"], _GRADIENTS))
        report.tables.append(Table(["a training step", "ms", "peak MB"], rows, self.title))


def _run_program(job: Job) -> Record:
    result = job.scratch / "ddp.json"
    pairs = 4 if job.rehearse else _PAIRS
    arguments = [str(job.checkpoint), str(result), f"--device={job.device}", f"--pairs={pairs}"]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--local-addr=127.0.0.1",
        "--nproc_per_node=1",
        str(_PROGRAM),
    ]
    code, printed = run_program(command + arguments, job.patience(_SECONDS), env=os.environ | {"OMP_NUM_THREADS": "2"})
    if code != 0:
        return {"failed": printed}
    record: Record = json.loads(result.read_text())
    return record


STEP = DistributedStep()
