"""Worker process that holds one library's model and runs it on request, so that peers from any environment take turns.

It reads one request per line of standard input and answers each with one line, both JSON. `remote.py` is the other end.

    {"do": "load", "adapter": ..., "options": {...}}          load the model; answers with versions
    {"do": "prepare", "stage": ..., "inputs": an .npz file, "outputs": an .npz file to write}
                                                              convert the inputs; run once, compiling
    {"do": "run"}                                             run once, timed; answers with seconds
    {"do": "memory"}                                          answers with resident bytes, now and at the peak
    {"do": "reset"}                                           reset the peak
    {"do": "release"}                                         discard prepared inputs and cached memory

Errors are answered with a traceback, and the process continues. Library output goes to standard error.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from timing import Work

if TYPE_CHECKING:
    from typing import TextIO

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
_KIB = 1024


class Server:
    """A model and its prepared inputs."""

    def __init__(self) -> None:
        self.model: Any = None
        self.work = Work(lambda: None)

    def load(self, adapter: str, options: dict[str, Any]) -> dict[str, Any]:
        """Load the model."""
        module = importlib.import_module(adapter)
        self.model = module.load(**options)
        return {"versions": self.model.versions}

    def prepare(self, stage: str, inputs: str, outputs: str, **options: Any) -> dict[str, Any]:
        """Set the inputs, run once, and write the outputs."""
        self.release()
        with np.load(inputs) as file:
            arrays = dict(file)
        self.work = Work(self.model.work(stage, arrays, **options))
        for _ in range(getattr(self.model, "runs_to_settle", 1) - 1):
            self.work.function()
        results = self.model.arrays(self.work.function())
        np.savez(outputs, **results)
        return {}

    def run(self) -> dict[str, Any]:
        """Run once."""
        return {"seconds": self.work.run()}

    def memory(self) -> dict[str, Any]:
        """Return the bytes held: of device memory if the model is on a device."""
        if hasattr(self.model, "memory"):
            found: dict[str, Any] = self.model.memory()
            return found
        status = _STATUS.read_text()
        now, peak = (int(status.partition(f"{key}:")[2].split()[0]) * _KIB for key in ("VmRSS", "VmHWM"))
        return {"now": now, "peak": peak}

    def release(self) -> dict[str, Any]:
        """Discard the prepared inputs, and return the allocator's free memory to the system."""
        self.work = Work(lambda: None)
        gc.collect()
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)
        return {}

    def reset(self) -> dict[str, Any]:
        """Reset the peak."""
        if hasattr(self.model, "reset"):
            self.model.reset()
        else:
            _CLEAR.write_text(_RESET_PEAK)
        return {}


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer requests until there are no more."""
    server = Server()
    for line in requests:
        request = json.loads(line)
        try:
            answer = getattr(server, request.pop("do"))(**request)
        except Exception:  # noqa: BLE001  the driver decides
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    """Reserve the pipe for answers, and serve."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
