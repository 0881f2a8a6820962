"""Mutation tests: `clip-zoo verify` should detect every small change of the models' code. Run by `make mutants`.

Every mutant of a backend's model files is compared with the float64 reference on a few odd checkpoints. A mutant that
passes all comparisons is a survivor. Either the proof has a blind spot, or the change affects no number, and
`survivors.toml` gives the reason. The exit code is 1 if a survivor has no reason there.

Each mutant runs in a fork of a process that has imported the framework, but none of the backend's code. It runs only
the checkpoints on which the unchanged code calls the changed function.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.abc
import importlib.util
import os
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from mutants.mutations import FILES, Mutation, mutations  # noqa: E402
from mutants.odd_checkpoints import WITH_GRADIENTS, write_all  # noqa: E402
from mutants.survivors import reason_for  # noqa: E402

from converters.verification.comparison import compare  # noqa: E402
from converters.verification.jobs import REFERENCE, Job, run_job  # noqa: E402
from converters.verification.verify import subjects_of  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from converters.verification.runs import StoredRun

# The modules to import before a fork.
FRAMEWORKS = {
    "torch": ("torch", "torch.nn.functional"),
    "tf": ("keras", "tensorflow"),
    "flax": ("jax", "flax.nnx", "optax"),
}
# One thread for each mutant, and compiled functions on disk, as most mutants share most of them.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}
LIMIT = 120  # seconds of processor time for a mutant, which may loop forever
SURVIVED, KILLED = 0, 1


@dataclass(frozen=True)
class Proof:
    """A checkpoint, and the reference's results for it.

    Attributes:
        called: the functions of the backend that the unchanged code calls, as `file:qualified name`.
    """

    checkpoint: Path
    gradients: bool
    reference: StoredRun
    called: frozenset[str] = frozenset()

    def job(self, framework: str, folder: Path) -> Job:
        """Return the job that runs a framework on the checkpoint."""
        return _job(framework, self.checkpoint, folder, gradients=self.gradients)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mutants of the chosen backends and files, print the survivors, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default=",".join(FRAMEWORKS), help="such as torch,tf; all by default")
    parser.add_argument("--files", default=",".join(FILES), help="such as text,vision; all by default")
    parser.add_argument("--every", type=int, default=1, help="run only every n-th mutant")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="number of mutants to run at a time")
    options = parser.parse_args(arguments)
    unexplained = 0
    for backend in options.backends.split(","):
        pid = os.fork()  # each framework has a process of its own
        if not pid:
            os._exit(min(_backend(backend, options), 255))
        unexplained += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 1 if unexplained else 0


def _backend(backend: str, options: argparse.Namespace) -> int:
    """Run a backend's mutants, and return the number of survivors without a reason."""
    start = time.monotonic()
    counts = {"killed": 0, "timed out": 0, "explained": 0, "survived": 0}
    with tempfile.TemporaryDirectory(prefix="clip-zoo-mutants-") as name:
        folder = Path(name)
        os.environ |= ENVIRONMENT | {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
        proofs = list(_proofs(folder))
        for module in FRAMEWORKS[backend]:
            importlib.import_module(module)
        gc.freeze()  # a collection, of which each run has one, would take longer than the run
        with ThreadPoolExecutor(options.jobs) as pool:
            traced = list(pool.map(lambda proof: _with_calls(backend, proof, folder), proofs))
            if None in traced:
                print(f"{backend}: the unchanged code already fails; see clip-zoo verify", flush=True)
                return 1
            proofs = [proof for proof in traced if proof]
            found = list(_mutants(backend, options.files.split(",")))[:: options.every]
            codes = pool.map(lambda mutant: _run_forked(backend, proofs, mutant), found)
            for (file, mutation), code in zip(found, codes, strict=True):
                fate = "killed" if code == KILLED else "timed out"  # or its process died
                if code == SURVIVED:
                    reason = reason_for(file, mutation)
                    fate = "explained" if reason else "survived"
                    print(
                        f"clip_{backend}/{file}.py:{mutation.line} {mutation.function}: {mutation.change}", flush=True
                    )
                    print(f"    {reason or 'SURVIVED WITHOUT A REASON'}", flush=True)
                counts[fate] += 1
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
    checkpoints = write_all(folder)
    for name, gradients in [*((name, False) for name in checkpoints), *((name, True) for name in WITH_GRADIENTS)]:
        ran = run_job(_job(REFERENCE, checkpoints[name], folder, gradients=gradients))
        yield Proof(checkpoints[name], gradients, ran.forms[0][0])


def _job(framework: str, checkpoint: Path, folder: Path, *, gradients: bool) -> Job:
    keywords = {"gradients": gradients, "train_step": False}
    return Job(framework, subjects_of([checkpoint], {}), "float32", folder, keywords)


def _with_calls(backend: str, proof: Proof, folder: Path) -> Proof | None:
    """Return a proof with the functions that the unchanged code calls; None if that code fails it."""
    path = Path(tempfile.mkdtemp(dir=folder)) / "calls"
    if _run_forked(backend, [proof], calls=path) != SURVIVED:
        return None
    return replace(proof, called=frozenset(path.read_text(encoding="utf-8").splitlines()))


def _run_forked(
    backend: str, proofs: Sequence[Proof], mutant: tuple[str, Mutation] | None = None, calls: Path | None = None
) -> int:
    """Run a mutant, or the unchanged code, in a fork, and return SURVIVED, or another code if it was detected.

    Args:
        backend: the name of the backend.
        proofs: the proofs that should detect it; a mutant runs those that call its function.
        mutant: the file and the mutation; None for the unchanged code.
        calls: the file to write the called functions to.
    """
    if mutant is not None:
        name = f"{mutant[0]}:{mutant[1].function}"
        proofs = [proof for proof in proofs if name in proof.called]
        if not proofs:
            return SURVIVED
    pid = os.fork()
    if not pid:
        signal.setitimer(signal.ITIMER_PROF, LIMIT)
        code = KILLED
        try:
            if mutant is not None:
                file, mutation = mutant
                sys.meta_path.insert(0, _Mutated(f"clip_{backend}.{file}", mutation.source))
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # mutants warn and raise
            recorder = _Recorder(ROOT / f"clip_{backend}")
            if calls is not None:
                recorder.start()
            with tempfile.TemporaryDirectory() as folder:
                code = SURVIVED if _agrees(backend, proofs, Path(folder)) else KILLED
            if calls is not None:
                calls.write_text("\n".join(sorted(recorder.called)), encoding="utf-8")
        except BaseException:
            code = KILLED
            if mutant is None:
                raise
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class _Recorder:
    """Records which functions of a folder's files are called, as `file:qualified name`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.called: set[str] = set()

    def start(self) -> None:
        threading.setprofile(self._record)
        sys.setprofile(self._record)

    def _record(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(self.folder)):
            names = [name for name in frame.f_code.co_qualname.split(".") if not name.startswith("<")]
            # Their parts too, as a function inside another belongs to it, and so does a lambda.
            file = Path(frame.f_code.co_filename).stem
            self.called |= {f"{file}:{'.'.join(names[:end])}" for end in range(len(names) + 1)}


def _agrees(backend: str, proofs: Sequence[Proof], folder: Path) -> bool:
    for proof in proofs:
        ran = run_job(proof.job(backend, folder))
        for (own,) in ran.forms:
            if not all(comparison.passed for comparison in compare(proof.reference, own)):
                return False
    return True


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """An importer that replaces the source of one module."""

    def __init__(self, module: str, source: str) -> None:
        self.module, self.source = module, source

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != self.module:
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def get_source(self, fullname: str) -> str:
        return self.source


if __name__ == "__main__":
    sys.exit(main())
