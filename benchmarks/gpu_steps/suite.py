"""Test step: the files in `tests/gpu`, one after another."""

from __future__ import annotations

import os
import sys
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from goals import at_least, at_most
from report import Table
from targets import ROOT

from gpu_steps.step import Unit, run_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from report import Report

    from gpu_steps.step import Job, Record

_FOLDER = ROOT / "tests" / "gpu"
_SECONDS = {"test_compiled.py": 150.0, "test_flax.py": 120.0}  # they compile
_OTHERWISE = 60.0
_SHOWN = 2000  # characters of a failure
_OUTCOMES = ("passed", "failing", "skipped")


class Suite:
    """A step; see `Step`."""

    name = "tests"
    title = "tests/gpu"
    start_seconds = 0.0

    def units(self, job: Job) -> list[Unit]:  # noqa: ARG002
        """Return a unit for each file."""
        return [Unit(file.name, _SECONDS.get(file.name, _OTHERWISE)) for file in sorted(_FOLDER.glob("test_*.py"))]

    def run(self, job: Job, names: Sequence[str]) -> Iterator[tuple[str, Record]]:
        """Run each file in its own process, and yield the number of passed tests and the failures."""
        for name in names:
            print(f"{self.name}: {name}", flush=True)
            yield name, _run_file(name, job)

    def describe(self, records: Mapping[str, Record], report: Report) -> None:
        """See `Step`."""
        rows = [[name, *(str(record[outcome]) for outcome in _OUTCOMES)] for name, record in records.items()]
        report.tables.append(Table(["tests/gpu", *_OUTCOMES], rows, self.title))
        for name, record in records.items():
            report.notes += [f"{name}: {failure.strip().splitlines()[-1]}" for failure in record["failures"]]
            report.goals.append(at_most(f"{name}: failed tests", record["failing"], 0))
            report.goals.append(at_least(f"{name}: passed tests", record["passed"], 1))


def _run_file(name: str, job: Job) -> Record:
    result = job.scratch / f"{name}.xml"
    # Warnings from this machine's libraries are not our failures.
    options = ["-q", "-p", "no:cacheprovider", "-W", "default", f"--junitxml={result}"]
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "CLIP_ZOO_REHEARSE": str(int(job.rehearse))}
    code, printed = run_program(
        [sys.executable, "-m", "pytest", str(_FOLDER / name), *options],
        job.patience(_SECONDS.get(name, _OTHERWISE)),
        cwd=ROOT,
        env=environment,
    )
    return {"failed": printed} if code is None or not result.exists() else read_junit(result)


def read_junit(path: Path) -> Record:
    """Return the numbers of passed, failed and skipped tests, and each failure's message, from pytest's XML."""
    suite = ET.parse(path).getroot().find("testsuite")  # noqa: S314  just written by pytest
    assert suite is not None
    failures, failed, skipped = [], 0, 0
    for case in suite.iter("testcase"):
        problem = next((found for tag in ("failure", "error") if (found := case.find(tag)) is not None), None)
        if problem is not None:
            failed += 1
            failures.append(f"{case.get('name')}: {(problem.text or problem.get('message') or 'error')[-_SHOWN:]}")
        skipped += case.find("skipped") is not None
    total = sum(1 for _ in suite.iter("testcase"))
    return {"passed": total - failed - skipped, "failing": failed, "skipped": skipped, "failures": failures}


STEP = Suite()
