"""Benchmark contestants: ourselves and the peers, each with its adapter and environment."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

# A package's major version that makes a separate environment unnecessary if already installed here.
_SUFFICIENT = {"transformers5": ("transformers", "5")}


@dataclass(frozen=True)
class Target:
    """One library in one framework.

    Attributes:
        adapter: the module that runs it.
        environment: "" for the current one; otherwise a sibling folder, `.venv-bench-<environment>` if the current one
            is `.venv`.
        options: keywords of the adapter's `load`.
    """

    adapter: str
    environment: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def python(self) -> Path:
        """Return the interpreter to run it with."""
        if not self.environment or _has(*_SUFFICIENT.get(self.environment, ("", ""))):
            return Path(sys.executable)
        mine = Path(sys.prefix)
        return mine.with_name(f"{mine.name}-bench-{self.environment}") / "bin" / "python"


def _has(package: str, major: str) -> bool:
    try:
        return bool(package) and version(package).partition(".")[0] == major
    except PackageNotFoundError:
        return False


def _torch(library: str, environment: str = "", **options: Any) -> Target:
    return Target("adapters.torch_models", environment, {"library": library, **options})


TARGETS: dict[str, Target] = {
    "ours-torch": _torch("clip_torch"),
    "ours-prepared-torch": _torch("clip_torch", prepared=True),
    "transformers-torch": _torch("transformers"),
    "transformers5-torch": _torch("transformers", "transformers5"),
    "open_clip": Target("adapters.open_clip_models"),
    "onnxruntime": Target("adapters.onnx_models", "onnxruntime"),
    "ours-tf": Target("adapters.tf_models", options={"library": "clip_tf"}),
    "transformers-tf": Target("adapters.tf_models", options={"library": "transformers"}),
    "ours-flax": Target("adapters.flax_models", options={"library": "clip_flax"}),
    "transformers-flax": Target("adapters.flax_models", options={"library": "transformers"}),
    "matmul": Target("adapters.matrix_product"),
}


def framework(target: str) -> str:
    """Return the last word of a target's name; targets of the same framework are compared."""
    return target.rpartition("-")[2]
