"""A process that runs the mutants of one backend, one after another.

The framework stays loaded, and what it has compiled stays in memory; only the backend's own modules are imported again
for each mutant. That takes a fraction of the time of a fresh process. JAX cannot run in a fork of a process in which it
has already computed.
"""

from __future__ import annotations

import gc
import importlib
import importlib.abc
import importlib.util
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_core.modeling import outputs
from converters.verification.comparison import compare
from converters.verification.jobs import Job, run_job
from converters.verification.verify import subjects_of

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from types import FrameType

    from mutants.mutations import Mutation

    from converters.verification.runs import StoredRun
    from converters.verification.tolerances import Precision

ROOT = Path(__file__).parents[2]
MUTANTS = 100  # in one process, whose memory grows with each
LIMIT = 120  # seconds of processor time for a mutant, which may loop forever
SURVIVED, KILLED, DIED = 0, 1, 2


@dataclass(frozen=True)
class Proof:
    """A checkpoint, and the reference's results for it.

    Attributes:
        called: the functions of the backend that the unchanged code calls, as `file:qualified name`.
        executed: the lines of these functions that it executes, as `file:line`.
        seconds: the time that the unchanged code takes.
    """

    checkpoint: Path
    dtype: Precision
    gradients: bool
    reference: StoredRun
    called: frozenset[str] = frozenset()
    executed: frozenset[str] = frozenset()
    seconds: float = 0.0

    def reaches(self, file: str, mutation: Mutation) -> bool:
        """Return True if the unchanged code executes the statement that a mutation changes."""
        lines = mutation.statement
        executes = not lines or any(f"{file}:{line}" in self.executed for line in lines)
        return executes and f"{file}:{mutation.function}" in self.called


class UnchangedCodeFailedError(Exception):
    """The unchanged code already fails."""


class Worker:
    """A process that runs mutants of a backend. One that a mutant ends is replaced.

    Args:
        backend: the name of the backend.
        proofs: the proofs that should detect the mutants.

    Raises:
        UnchangedCodeFailedError: the unchanged code fails a proof.
    """

    def __init__(self, backend: str, proofs: list[Proof]) -> None:
        self._arguments = (backend, proofs)
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(*self._arguments, other), daemon=True)
        self._process.start()
        other.close()
        self._expect_success()
        self._count = 0

    def _expect_success(self) -> None:
        try:
            self._connection.recv()
        except EOFError:
            raise UnchangedCodeFailedError from None

    def run(self, file: str, mutation: Mutation) -> int:
        """Return SURVIVED if a mutant passes all proofs that call its function, KILLED if not, DIED if it ends."""
        if self._count == MUTANTS:
            self.close()
            self._start()
        self._count += 1
        self._connection.send((file, mutation))
        try:
            code: int = self._connection.recv()
        except EOFError:
            self._start()
            return DIED
        return code

    def close(self) -> None:
        """End the process.

        Raises:
            UnchangedCodeFailedError: the unchanged code now fails, so a mutant has changed more than its own module.
        """
        self._connection.send(None)
        self._expect_success()
        self._process.join()


def _serve(backend: str, proofs: list[Proof], connection: Connection) -> None:
    """Run the mutants that a connection brings, and send the code of each. Exit if the unchanged code fails."""
    proofs = sorted((_measured(backend, proof) for proof in proofs), key=lambda proof: proof.seconds)
    connection.send(True)
    gc.freeze()  # a collection, of which each run has one, would take longer than the run
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # mutants warn
    for file, mutation in iter(connection.recv, None):
        signal.setitimer(signal.ITIMER_PROF, LIMIT)  # its signal ends the process
        connection.send(_run(backend, [proof for proof in proofs if proof.reaches(file, mutation)], file, mutation))
    _import_again(backend)
    for proof in proofs:
        _check_unchanged(backend, proof)
    connection.send(True)


def _measured(backend: str, proof: Proof) -> Proof:
    """Return a proof with the functions that the unchanged code calls, and its time once all is compiled."""
    recorder = _Recorder(ROOT / f"clip_{backend}")
    recorder.start()
    _check_unchanged(backend, proof)
    recorder.stop()
    start = time.process_time()
    _check_unchanged(backend, proof)
    seconds = time.process_time() - start
    return replace(proof, called=frozenset(recorder.called), executed=frozenset(recorder.executed), seconds=seconds)


def _check_unchanged(backend: str, proof: Proof) -> None:
    if not _agrees(backend, proof):
        raise RuntimeError(f"{backend} already fails on {proof.checkpoint.name}; see clip-zoo verify")


def _run(backend: str, proofs: list[Proof], file: str, mutation: Mutation) -> int:
    if not proofs:
        return SURVIVED
    finder = Mutated(f"clip_{backend}.{file}", mutation.source)
    sys.meta_path.insert(0, finder)
    agree = False
    with suppress(Exception):
        _import_again(backend)
        agree = all(_agrees(backend, proof) for proof in proofs)
    sys.meta_path.remove(finder)
    return SURVIVED if agree else KILLED


def _agrees(backend: str, proof: Proof) -> bool:
    with tempfile.TemporaryDirectory(prefix="clip-zoo-mutant-") as folder:
        ran = run_job(job_of(backend, proof.checkpoint, Path(folder), dtype=proof.dtype, gradients=proof.gradients))
        return all(comparison.passed for (own,) in ran.forms for comparison in compare(proof.reference, own))


def job_of(framework: str, checkpoint: Path, folder: Path, *, dtype: Precision, gradients: bool) -> Job:
    """Return the job that runs a framework on a checkpoint."""
    keywords = {"gradients": gradients, "train_step": False}
    return Job(framework, subjects_of([checkpoint], {}), dtype, folder, keywords)


def _import_again(backend: str) -> None:
    package = f"clip_{backend}"
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]
    outputs.OUTPUT_CLASSES = ()  # the classes are registered with the framework already
    importlib.import_module(f"{package}.backend")


class _Recorder:
    """Records the functions of a folder's files that are called, as `file:qualified name`, and the lines executed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.called: set[str] = set()
        self.executed: set[str] = set()

    def start(self) -> None:
        threading.settrace(self._record)
        sys.settrace(self._record)

    def stop(self) -> None:
        threading.settrace(None)  # type: ignore[arg-type]  typeshed lacks None
        sys.settrace(None)

    def _record(self, frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(str(self.folder)):
            return None
        file = Path(frame.f_code.co_filename).stem
        if event == "call":
            names = [name for name in frame.f_code.co_qualname.split(".") if not name.startswith("<")]
            # Their parts too, as a function inside another belongs to it, and so does a lambda.
            self.called |= {f"{file}:{'.'.join(names[:end])}" for end in range(len(names) + 1)}
        self.executed.add(f"{file}:{frame.f_lineno}")
        return self._record


class Mutated(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """An importer that replaces the source of one module."""

    def __init__(self, module: str, source: str) -> None:
        self.module, self.source = module, source

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != self.module:
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def get_source(self, fullname: str) -> str:
        return self.source
