"""Comparison step: several libraries, or variants of one, take turns on the same inputs."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from flops import image_flops, text_flops
from interleaved import Case, Measurement, Timed, number_of_turns, same_outputs, take_turns
from remote import WorkerError
from workers import started

from gpu_steps.step import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from interleaved import Runner
    from remote import Worker
    from report import Report

    from clip_core.configuration import CLIPConfig
    from converters.verification.tolerances import Precision
    from gpu_steps.step import Job, Record

_AT_ONCE = 8  # workers started in parallel
_SECONDS_TO_START = 30.0  # import PyTorch and transformers, and load ViT-L/14, in that many workers at once
_SECONDS_TO_PREPARE = 2.0  # inputs and outputs pass through files
INDUCTOR, XLA = 75.0, 40.0  # to compile ViT-L/14 for one shape
_PATIENCE = 150.0  # seconds after which no answer is expected
_PRODUCTS = 50  # matrix products per turn of the yardstick, so that it takes about as long as a model's turn
_SLOWEST_RATE = 5e13  # FLOP/s in half precision, far below any GPU since Ampere
_LAUNCHES = 0.04  # seconds in which even a slow CPU launches the kernels of both towers
_REST = 0.02
_FEWEST_TURNS, _MOST_TURNS = 5, 25
MATRIX = 8192  # rows of the yardstick's matrices
MEGABYTE = 1e6


@dataclass(frozen=True)
class Comparison:
    """A step; see `Step`.

    Attributes:
        name: name on the command line.
        title: heading of its table.
        wanted: contestant's name to target and further load options, except the device.
        cases: makes the cases; a rehearsal uses only the first.
        reference: the contestant whose outputs the others must match.
        write: adds the measurements to a report.
        precision: precision of the weights and the computation.
        compile_seconds: maximum time for all contestants to compile a case.
        yardstick: a contestant that multiplies two square matrices instead, as the reference rate.
    """

    name: str
    title: str
    wanted: Mapping[str, tuple[str, Mapping[str, Any]]]
    cases: Callable[[], list[Case]]
    reference: str
    write: Callable[[str, list[Timed], Mapping[str, Record], Report], None]
    precision: Precision = "float16"
    compile_seconds: float = 0.0
    yardstick: str = ""

    @property
    def start_seconds(self) -> float:
        """The seconds until all contestants have loaded."""
        return _SECONDS_TO_START * -(-len(self.wanted) // _AT_ONCE)

    def units(self, job: Job) -> list[Unit]:
        """Return a unit for each case."""
        return [Unit(case.name, self._seconds(case, job)) for case in self._cases(job)]

    def _cases(self, job: Job) -> list[Case]:
        cases = self.cases()
        return [smaller(cases[0])] if job.rehearse else cases

    def _seconds(self, case: Case, job: Job) -> float:
        run = max(_LAUNCHES, case_flops(case, job.config) / _SLOWEST_RATE)
        a_round = len(self.wanted) * (2 * run + _REST)
        turns = number_of_turns(a_round, job.budget, _FEWEST_TURNS, _MOST_TURNS)
        prepared = len(self.wanted) * (_SECONDS_TO_PREPARE + run)
        return prepared + self.compile_seconds + (turns + 2) * a_round

    def run(self, job: Job, names: Sequence[str]) -> Iterator[tuple[str, Record]]:
        """Start the contestants once, and yield the record of one case after another."""
        shared = {"device": job.device, "dtype": self.precision, "rehearse": job.rehearse}
        wanted = {name: (target, shared | dict(options)) for name, (target, options) in self.wanted.items()}
        cases = {case.name: case for case in self._cases(job)}
        with started(job.checkpoint, wanted, at_once=_AT_ONCE, patience=_PATIENCE) as (workers, left_out):
            versions: dict[str, str] = {}
            for worker in workers.values():
                versions |= worker.versions
            for name in names:
                print(f"{self.name}: {name}", flush=True)
                yield name, self._measure(cases[name], workers, left_out, job) | {"versions": versions}

    def _measure(self, case: Case, workers: dict[str, Worker], left_out: dict[str, str], job: Job) -> Record:
        missing = {self.reference, self.yardstick} & left_out.keys()
        if missing:
            return {"failed": "".join(f"{name} could not be started: {left_out[name]}" for name in missing)}
        models = {name: worker for name, worker in workers.items() if name != self.yardstick}
        runners, different = same_outputs(case, models, self.reference, self.precision)
        size = _matrix_size(job)
        if self.yardstick:
            matrix = np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)
            workers[self.yardstick].prepare("product", {"matrix": matrix}, repeats=_PRODUCTS)
            runners[self.yardstick] = workers[self.yardstick]
        seconds, broken = first_turns(runners)
        different |= broken
        if self.reference not in runners:
            return {"failed": broken[self.reference]}
        fewest, most = (2, 2) if job.rehearse else (_FEWEST_TURNS, _MOST_TURNS)
        timed = Timed(
            case, take_turns(runners, number_of_turns(seconds, job.budget, fewest, most)), left_out | different
        )
        counted = {"flops": case_flops(case, job.config), "yardstick_flops": 2.0 * size**3 * _PRODUCTS}
        return timed.record() | counted | {"left_out": timed.left_out, "memory": peaks(runners, workers)}

    def describe(self, records: Mapping[str, Record], report: Report) -> None:
        """See `Step`."""
        timed = [read_timed(record) for record in records.values()]
        for record in records.values():
            report.versions |= record["versions"]
            for name, why in record["left_out"].items():
                note = f"{self.title}: {name} was left out: {why.strip().splitlines()[-1]}"
                if note not in report.notes:
                    report.notes.append(note)
        self.write(self.title, timed, records, report)


def read_timed(record: Record) -> Timed:
    """Reconstruct a timed case from a record, without its inputs."""
    facts = {key: record[key] for key in ("batch", "labels") if key in record}
    measurements = {name: Measurement(name, one["seconds"]) for name, one in record["targets"].items()}
    return Timed(Case(record["case"], record["stage"], {}, facts), measurements, record["left_out"])


def smaller(case: Case) -> Case:
    """Return a case with at most two images or texts, under the same name."""
    inputs = {name: array[:2] for name, array in case.inputs.items()}
    return Case(case.name, case.stage, inputs, case.facts, case.options)


def first_turns(runners: dict[str, Runner]) -> tuple[float, dict[str, str]]:
    """Run each once; return the total seconds, and the reasons for failures, which are removed from the runners."""
    seconds, broken = 0.0, {}
    for name in list(runners):
        try:
            seconds += runners[name].run()
        except WorkerError as error:
            broken[name] = str(error)
            del runners[name]
    return seconds, broken


def _matrix_size(job: Job) -> int:
    return 64 if job.rehearse else MATRIX


def case_flops(case: Case, config: CLIPConfig) -> float:
    """Return the floating-point operations of one run of a case."""
    total = 0.0
    if "pixel_values" in case.inputs:
        total += len(case.inputs["pixel_values"]) * image_flops(config)
    if "input_ids" in case.inputs:
        batch, seq = case.inputs["input_ids"].shape
        total += batch * text_flops(config, seq)
    return total


def peaks(runners: Mapping[str, Runner], workers: Mapping[str, Worker]) -> dict[str, int]:
    """Return the peak bytes of one run, including weights."""
    found = {}
    for name in runners:
        with suppress(WorkerError):
            workers[name].reset()
            workers[name].run()
            found[name] = workers[name].memory()["peak"]
    return found
