"""The driver's side of `worker.py`: a library in its own process, possibly in another environment."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from select import select
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from machine import threads
from targets import ROOT

if TYPE_CHECKING:
    from targets import Target

_WORKER = Path(__file__).with_name("worker.py")
_END_OF_ERROR = 3000  # characters


class WorkerError(RuntimeError):
    """A library that could not be started, or that failed at a request."""


class Worker:
    """A running worker process; a context manager that ends it.

    Args:
        name: its name in messages.
        target: the library to run.
        patience: seconds to wait for an answer before the process is killed; None to wait forever.
        options: further keywords of the adapter's `load`, which override the target's own.

    Raises:
        WorkerError: if its environment is missing, or the library fails to load.
    """

    def __init__(self, name: str, target: Target, *, patience: float | None = None, **options: Any) -> None:
        self.name, self.patience = name, patience
        python = target.python()
        if not python.exists():
            raise WorkerError(f"{name}: no environment {python.parents[1].name}; `make bench` creates it")
        self._files = tempfile.TemporaryDirectory()
        self._said = (Path(self._files.name) / "said").open("w+")
        self._process = subprocess.Popen(  # noqa: S603
            [str(python), "-W", "ignore", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=os.environ | _environment(),
        )
        try:
            given = {"threads": threads()} | target.options | options
            loaded = self._ask("load", adapter=target.adapter, options=given)
        except WorkerError:
            self.close()
            raise
        self.versions: dict[str, str] = loaded["versions"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._said.close()
        self._files.cleanup()

    def prepare(self, stage: str, inputs: dict[str, np.ndarray], **options: Any) -> dict[str, np.ndarray]:
        """Set the library's inputs, and return its outputs."""
        given, written = (str(Path(self._files.name) / name) for name in ("inputs.npz", "outputs.npz"))
        np.savez(given, **inputs)
        self._ask("prepare", stage=stage, inputs=given, outputs=written, **options)
        with np.load(written) as file:
            return dict(file)

    def run(self) -> float:
        """Run once and return the seconds."""
        seconds: float = self._ask("run")["seconds"]
        return seconds

    def memory(self) -> dict[str, int]:
        """Return the bytes held `now` and at the `peak` since `reset`."""
        return self._ask("memory")

    def reset(self) -> None:
        """Reset the peak."""
        self._ask("reset")

    def release(self) -> None:
        """Discard the prepared inputs."""
        self._ask("release")

    def _ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._ended(do) from None
        if not select([self._process.stdout], [], [], self.patience)[0]:
            self._process.kill()
            raise WorkerError(f"{self.name} did not {do} within {self.patience:.0f} s and was killed")
        line = self._process.stdout.readline()
        if not line:
            raise self._ended(do)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{self.name} failed to {do}:\n{answer['error'][-_END_OF_ERROR:]}")
        return answer

    def _ended(self, do: str) -> WorkerError:
        self._process.wait()
        said = Path(self._said.name).read_text()[-_END_OF_ERROR:]
        return WorkerError(f"{self.name} exited when asked to {do}, status {self._process.returncode}:\n{said}")


def _environment() -> dict[str, str]:
    """Return the environment of every worker: its threads, our packages, and quiet logging."""
    return {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "OMP_NUM_THREADS": str(threads()),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "HF_HUB_OFFLINE": "1",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # otherwise JAX claims most of a GPU
    }
