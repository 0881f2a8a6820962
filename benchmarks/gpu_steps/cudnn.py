"""Flax attention on a GPU: cuDNN's FlashAttention (`sdpa`) beside `eager`, compiled by XLA."""

from __future__ import annotations

from typing import TYPE_CHECKING

import checkpoints
from goals import at_most
from interleaved import Case, Timed, ratios
from report import Table, milliseconds

from gpu_steps.comparison import MEGABYTE, XLA, Comparison
from gpu_steps.tables import pictures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from report import Report

    from gpu_steps.step import Record

WAYS = ("flax eager", "flax sdpa")
IMAGES = (1, 32, 128)
LABELS = (64,)


def cases() -> list[Case]:
    """Return images, and unpadded texts: cuDNN's kernel does not support padding."""
    images = [Case(pictures(n), "images", {"pixel_values": checkpoints.pictures(n)}, {"batch": n}) for n in IMAGES]
    full = {n: {"input_ids": checkpoints.texts(n)["input_ids"]} for n in LABELS}
    return images + [Case(f"{n} texts without padding", "texts", ids, {"batch": n}) for n, ids in full.items()]


def write(title: str, timed: list[Timed], records: Mapping[str, Record], report: Report) -> None:
    """Add times and memory, and the target that cuDNN's kernel is never slower."""
    rows = []
    for one, record in zip(timed, records.values(), strict=True):
        found = [one.measurements.get(name) for name in WAYS]
        cells = [milliseconds(each.median, each.spread) if each else "" for each in found]
        memory = [f"{record['memory'][name] / MEGABYTE:.0f}" if name in record["memory"] else "" for name in WAYS]
        rows.append([one.case.name, *cells, *memory])
    report.tables.append(Table(["", *(f"{name}, ms" for name in WAYS), *(f"{name}, MB" for name in WAYS)], rows, title))
    for one, quotient in ratios(timed, WAYS[1], WAYS[0]):
        report.goals.append(at_most(f"{title}, {one.case.name}: sdpa over eager", quotient, 1.0))


STEP = Comparison(
    "cudnn",
    "Flax's attention in bfloat16",
    {name: ("ours-flax", {"attn_implementation": name.removeprefix("flax ")}) for name in WAYS},
    cases,
    WAYS[0],
    write,
    precision="bfloat16",
    compile_seconds=2 * XLA,
)
