"""CUDA graphs: small batches, where launching kernels takes longer than running them.

A graph replays all kernels of a forward pass at once: those that run without it, recorded by `torch.cuda.graph`, or
those that TorchInductor generates (`torch.compile(mode="reduce-overhead")`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from goals import at_least
from interleaved import Timed, ratios
from report import Table, milliseconds

from gpu_steps.comparison import INDUCTOR, Comparison
from gpu_steps.tables import CASES, LIBRARIES, NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interleaved import Case
    from report import Report

    from gpu_steps.step import Record

PEER = "transformers 5 sdpa"
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    PEER: (LIBRARIES["transformers 5"], {}),
    "transformers 5 compiled": (LIBRARIES["transformers 5"], {"compiled": "inductor"}),
    "ours sdpa": (LIBRARIES["ours"], {}),
    "ours graph": (LIBRARIES["ours"], {"compiled": "graph"}),
    "ours compiled": (LIBRARIES["ours"], {"compiled": "inductor"}),
}
SMALL = {"CLIPTextModel": ("4 texts",), "CLIPVisionModel": ("1 picture",), "CLIPModel": ("1 picture, 4 texts",)}
TIMES_AS_FAST = 3.0


def small_cases(class_name: str) -> list[Case]:
    """Return the smallest rows of the model class's table."""
    return [case for case in CASES[class_name]() if case.name in SMALL[class_name]]


def graphs(class_name: str) -> Comparison:
    """Return the step that measures a model class."""
    wanted = {name: (target, options | {"class_name": class_name}) for name, (target, options) in WAYS.items()}
    return Comparison(
        f"graphs-{NAMES[class_name]}",
        f"CUDA graphs of {class_name}",
        wanted,
        partial(small_cases, class_name),
        PEER,
        write,
        compile_seconds=2 * INDUCTOR,
    )


def write(title: str, timed: list[Timed], records: Mapping[str, Record], report: Report) -> None:  # noqa: ARG001
    """Add the table, and the goal that the better of our graphs is three times as fast as transformers' `sdpa`."""
    rows = []
    for one in timed:
        found = [one.measurements.get(name) for name in WAYS]
        rows.append([one.case.name, *(milliseconds(each.median, each.spread) if each else "" for each in found)])
        reached = [ratio for name in ("ours graph", "ours compiled") for _, ratio in ratios([one], PEER, name)]
        if reached:
            what = f"{title}, {one.case.name}: ours as a graph, times as fast as transformers 5 with sdpa"
            report.goals.append(at_least(what, max(reached, key=lambda ratio: ratio.median), TIMES_AS_FAST))
    report.tables.append(Table(["ms", *WAYS], rows, title))
