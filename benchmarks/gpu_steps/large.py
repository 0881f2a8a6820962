"""Large batches in bfloat16: the fraction of the GPU's matrix-multiplication rate that PyTorch and Flax reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import checkpoints
from goals import at_least
from interleaved import Case, Timed, ratio
from report import Table

from gpu_steps.comparison import INDUCTOR, MATRIX, XLA, Comparison
from gpu_steps.tables import pictures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from report import Report

    from gpu_steps.step import Record

BATCHES = (256, 512)
YARDSTICK = "matmul"
SHARE = 0.55
TOWER = {"class_name": "CLIPVisionModelWithProjection"}
_TERA = 1e12


def cases() -> list[Case]:
    """Return the batches of images to encode."""
    return [Case(pictures(n), "images", {"pixel_values": checkpoints.pictures(n)}, {"batch": n}) for n in BATCHES]


def write(title: str, timed: list[Timed], records: Mapping[str, Record], report: Report) -> None:
    """Add the rates, and the target that each framework's best variant reaches its fraction of the yardstick."""
    rows = []
    for one, record in zip(timed, records.values(), strict=True):
        product = one.measurements.pop(YARDSTICK)
        measured = {YARDSTICK: product} | one.measurements
        work = record["flops"] / record["yardstick_flops"]
        shares = {name: ratio(measured, YARDSTICK, name).times(work) for name in one.measurements}
        rate = record["yardstick_flops"] / product.median
        for name, share in shares.items():
            reached = record["flops"] / one.measurements[name].median
            rows.append(
                [f"{name}, {one.case.name}", f"{reached / _TERA:.0f}", f"{rate / _TERA:.0f}", f"{share.median:.0%}"]
            )
        for framework in ("torch", "flax"):
            best = max((share for name, share in shares.items() if framework in name), key=_median, default=None)
            if best is not None:
                what = f"{one.case.name} in bfloat16, {framework}'s fastest variant: share of the matrix rate"
                report.goals.append(at_least(what, best, SHARE))
    columns = ["image features", "TFLOP/s", f"product of {MATRIX} x {MATRIX}, TFLOP/s", "share"]
    report.tables.append(Table(columns, rows, title))


def _median(share: object) -> float:
    return share.median  # type: ignore[attr-defined]


STEP = Comparison(
    "large",
    "Large batches in bfloat16",
    {
        "torch": ("ours-torch", TOWER),
        "torch compiled": ("ours-torch", TOWER | {"compiled": "inductor"}),
        "flax": ("ours-flax", {}),
        YARDSTICK: ("matmul", {}),
    },
    cases,
    "torch",
    write,
    precision="bfloat16",
    compile_seconds=INDUCTOR + XLA,
    yardstick=YARDSTICK,
)
