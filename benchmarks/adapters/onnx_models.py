"""Adapter for ONNX Runtime, on PyTorch's export of transformers' model; each stage is a separate graph."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

if TYPE_CHECKING:
    from collections.abc import Callable


class OnnxModel:
    """The graphs of a checkpoint, each exported on first use."""

    def __init__(self, checkpoint: Path, threads: int) -> None:
        self.checkpoint = checkpoint
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        # Threads that keep spinning after a run would slow the next turn.
        self.options.add_session_config_entry("session.force_spinning_stop", "1")
        self.versions = {"onnxruntime": onnxruntime.__version__}

    def work(self, stage: str, inputs: dict[str, np.ndarray]) -> Callable[[], dict[str, np.ndarray]]:
        """Return the timed function: one run of the stage's graph."""
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(str(self._exported(stage)), self.options, providers=providers)
        wanted = {one.name for one in session.get_inputs()}
        given = {name: array for name, array in inputs.items() if name in wanted}
        names = [one.name for one in session.get_outputs()]
        return lambda: dict(zip(names, session.run(names, given), strict=True))

    def arrays(self, results: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return results, features with unit norm."""
        unit = {name: array / np.linalg.norm(array, axis=-1, keepdims=True) for name, array in results.items()}
        return {name: unit[name] if name.endswith("features") else array for name, array in results.items()}

    def _exported(self, stage: str) -> Path:
        path = self.checkpoint / f"{stage}.onnx"
        if not path.exists():  # in its own process, so that the exporter's memory is released
            program = Path(__file__).with_name("export_onnx.py")
            subprocess.run([sys.executable, "-W", "ignore", program, self.checkpoint, stage, path], check=True)  # noqa: S603
        return path


def load(checkpoint: str, threads: int, **_: Any) -> OnnxModel:
    """Open a checkpoint; its graphs are cached in its folder.

    Args:
        checkpoint: the folder.
        threads: number of threads to use.
        **_: options of other adapters, ignored.
    """
    return OnnxModel(Path(checkpoint), threads)
