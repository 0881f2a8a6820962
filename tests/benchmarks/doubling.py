"""An adapter for `benchmarks/worker.py` without a framework: it doubles its input, and fails on request."""

from __future__ import annotations

import sys
from typing import Any


class Doubling:
    def __init__(self, error: float) -> None:
        self.versions = {"doubling": "1"}
        self.error = error

    def work(self, stage: str, inputs: dict[str, Any], power: int = 1) -> Any:
        print("a library that prints")  # noqa: T201
        if stage == "impossible":
            raise ValueError("no such stage")
        if stage == "fatal":
            sys.exit(3)
        return lambda: 2**power * inputs["image_embeds"] + self.error

    def arrays(self, result: Any) -> dict[str, Any]:
        return {"image_embeds": result}


def load(checkpoint: str, threads: int, error: float = 0.0) -> Doubling:
    if checkpoint == "broken":
        raise OSError("broken is no checkpoint")
    assert threads > 0
    return Doubling(error)
