"""Mutation tests: `clip-zoo verify` should detect every small change of the models' code. Run by `make mutants`.

Every mutant of a backend's model files is compared with the float64 reference on a few odd checkpoints. A mutant that
passes all comparisons is a survivor. Either the proof has a blind spot, or the change affects no number, and
`survivors.toml` gives the reason. The exit code is 1 if a survivor has no reason there.

A mutant runs only the checkpoints on which the unchanged code executes the changed statement, the quickest first. With
`--results FILE`, an interrupted run continues where it ended.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from mutants.mutations import FILES, Mutation, mutations  # noqa: E402
from mutants.odd_checkpoints import IN_HALF_PRECISION, WITH_GRADIENTS, write_all  # noqa: E402
from mutants.survivors import reason_for  # noqa: E402
from mutants.worker import DIED, SURVIVED, Proof, UnchangedCodeFailedError, Worker, job_of  # noqa: E402

from converters.verification.jobs import REFERENCE, run_job  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BACKENDS = ("torch", "tf", "flax")
# One thread for each mutant. JAX runs one operation at a time, as compiling whole models would take most of the time,
# and keeps the compiled operations on disk for the next worker.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "JAX_DISABLE_JIT": "1",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


class Results:
    """The codes of mutants that have run, kept in a file, one line each.

    Args:
        path: the file; None keeps no results.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path and path.is_file() else []
        self.codes = {key: int(code) for key, _, code in (line.rpartition(" ") for line in lines)}

    def of(self, backend: str, file: str, mutation: Mutation, run: Callable[[str, Mutation], int]) -> int:
        """Return the code of a mutant, which runs unless its code is known."""
        source = hashlib.sha256(mutation.original.encode()).hexdigest()[:12]
        key = f"{backend} {file} {source} {mutation.place} {mutation.choice}"
        if key not in self.codes:
            self.codes[key] = run(file, mutation)
            if self.path:
                with self.path.open("a", encoding="utf-8") as lines:
                    lines.write(f"{key} {self.codes[key]}\n")
        return self.codes[key]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mutants of the chosen backends and files, print the survivors, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default=",".join(BACKENDS), help="such as torch,tf; all by default")
    parser.add_argument("--files", default=",".join(FILES), help="such as text,vision; all by default")
    parser.add_argument("--every", type=int, default=1, help="run only every n-th mutant")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="number of mutants to run at a time")
    parser.add_argument("--results", type=Path, help="a file of results, from which an interrupted run continues")
    options = parser.parse_args(arguments)
    unexplained = 0
    with tempfile.TemporaryDirectory(prefix="clip-zoo-mutants-") as name:
        folder = Path(name)
        os.environ |= ENVIRONMENT | {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
        proofs = list(_proofs(folder))
        for backend in options.backends.split(","):
            try:
                unexplained += _backend(backend, proofs, options)
            except UnchangedCodeFailedError:
                unexplained += 1
                print(f"{backend}: the unchanged code fails; see clip-zoo verify", flush=True)
    return 1 if unexplained else 0


def _backend(backend: str, proofs: list[Proof], options: argparse.Namespace) -> int:
    """Run a backend's mutants, and return the number of survivors without a reason."""
    start = time.monotonic()
    found = list(_mutants(backend, options.files.split(",")))[:: options.every]
    # Survivors without a reason come first.
    found.sort(key=lambda mutant: reason_for(*mutant) is not None)
    counts = {"killed": 0, "timed out": 0, "explained": 0, "survived": 0}
    results = Results(options.results)
    workers: SimpleQueue[Worker] = SimpleQueue()

    def code_of(mutant: tuple[str, Mutation]) -> int:
        worker = workers.get()
        try:
            return results.of(backend, *mutant, worker.run)
        finally:
            workers.put(worker)

    with ThreadPoolExecutor(options.jobs) as pool:
        for worker in pool.map(lambda _: Worker(backend, proofs), range(options.jobs)):
            workers.put(worker)
        for (file, mutation), code in zip(found, pool.map(code_of, found), strict=True):
            fate = "timed out" if code == DIED else "killed"
            if code == SURVIVED:
                reason = reason_for(file, mutation)
                fate = "explained" if reason else "survived"
                print(f"clip_{backend}/{file}.py:{mutation.line} {mutation.function}: {mutation.change}", flush=True)
                print(f"    {reason or 'SURVIVED WITHOUT A REASON'}", flush=True)
            counts[fate] += 1
        for _ in range(options.jobs):
            workers.get().close()
    minutes = (time.monotonic() - start) / 60
    shown = ", ".join(f"{count} {fate}" for fate, count in counts.items())
    print(f"{backend}: {len(found)} mutants in {minutes:.0f} minutes: {shown}", flush=True)
    return counts["survived"]


def _mutants(backend: str, files: Sequence[str]) -> Iterator[tuple[str, Mutation]]:
    for file in files:
        path = ROOT / f"clip_{backend}" / f"{file}.py"
        for mutation in mutations(path.read_text(encoding="utf-8")):
            yield file, mutation


def _proofs(folder: Path) -> Iterator[Proof]:
    for name, checkpoint in write_all(folder).items():
        gradients, dtype = name in WITH_GRADIENTS, "float16" if name in IN_HALF_PRECISION else "float32"
        ran = run_job(job_of(REFERENCE, checkpoint, folder, dtype=dtype, gradients=gradients))
        yield Proof(checkpoint, dtype, gradients, ran.forms[0][0])


if __name__ == "__main__":
    sys.exit(main())
