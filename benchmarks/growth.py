"""Row 9: growth of time and memory with batch size, image size, text length and number of layers.

Ours in PyTorch runs in turns with transformers 4.57.6; TensorFlow and Flax run ours only. Memory is the peak of
resident bytes during a run, above what the process held before; sizes increase, so that memory retained by an allocator
hides nothing. The slope is the exponent of a power law fitted to all points.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import checkpoints
from interleaved import Case, Measurement, number_of_turns, same_outputs, take_turns
from plots import curves
from report import Report, Table, milliseconds
from slopes import fit
from workers import plainly, started

from clip_core.configuration import CLIPConfig

if TYPE_CHECKING:
    from pathlib import Path

    from remote import Worker
    from settings import Settings

REFERENCE = "transformers-torch"
TARGETS = ("ours-torch", REFERENCE, "ours-tf", "ours-flax")
MEGABYTE = 1e6
_SMALLEST = 4096  # one page in bytes, the system's resolution

SIZES: dict[str, tuple[int, ...]] = {
    "batch of images": (1, 2, 4, 8, 16, 32, 64, 128, 256),
    "batch of texts": (1, 2, 4, 8, 16, 32, 64, 128, 256),
    "image side, pixels": (224, 256, 288, 320, 384, 448),
    "tokens per text": (8, 16, 32, 48, 64, 77),
    "layers": (3, 6, 12, 24),
}
QUICK_SIZES: dict[str, tuple[int, ...]] = {name: sizes[:2] for name, sizes in SIZES.items()}


@dataclass
class Point:
    """The measurement of one target at one size."""

    what: str
    size: int
    target: str
    time: Measurement
    peak: int  # bytes


def case(what: str, size: int) -> Case:
    """Return the case for one quantity and size; the batch size is eight unless it is the quantity."""
    name = f"{what}: {size}"
    if what == "batch of texts":
        return Case(name, "texts", checkpoints.texts(size))
    if what == "tokens per text":
        return Case(name, "texts", checkpoints.texts(8, size))
    if what == "image side, pixels":
        options = {"interpolate_pos_encoding": True}
        return Case(name, "images", {"pixel_values": checkpoints.pictures(8, size)}, options=options)
    batch = size if what == "batch of images" else 8
    return Case(name, "images", {"pixel_values": checkpoints.pictures(batch)})


def fields(what: str, size: int, *, quick: bool) -> dict[str, Any]:
    """Return the fields of the configuration to run."""
    base = checkpoints.TINY if quick else checkpoints.VIT_B_32
    if what != "layers":
        return base
    towers = ("text_config", "vision_config")
    return base | {tower: base.get(tower, {}) | {"num_hidden_layers": size} for tower in towers}


def report(settings: Settings) -> Report:
    """Run the benchmark."""
    written = Report("growth", "How time and memory grow", __doc__ or "", quick=settings.quick)
    sizes = QUICK_SIZES if settings.quick else SIZES
    points: list[Point] = []
    for what, of_what in sizes.items():
        # Layers change the checkpoint; everything else shares the same processes.
        groups = [(size,) for size in of_what] if what == "layers" else [of_what]
        for group in groups:
            found, reasons = measured(what, group, settings)
            points += found
            written.notes += [reason for reason in reasons if reason not in written.notes]
    written.tables = [table(points, what) for what in sizes] + [slope_table(points)]
    written.measurements = [record(point) for point in points]
    written.plot = partial(draw, written.measurements)
    return written


def measured(what: str, sizes: tuple[int, ...], settings: Settings) -> tuple[list[Point], list[str]]:
    """Measure all targets at these sizes, in turns; also return the reasons for missing ones."""
    shape = fields(what, sizes[0], quick=settings.quick)
    checkpoint = settings.scratch / f"growth-{sizes[0] if what == 'layers' else 'base'}"
    if not checkpoint.exists():
        checkpoints.write_random(checkpoint, CLIPConfig(**shape))
    points, reasons = [], []
    with started(checkpoint, plainly(TARGETS)) as (workers, left_out):
        reasons += [f"{name} was left out: {reason}" for name, reason in left_out.items()]
        held = {name: held_by(worker, case(what, sizes[0])) for name, worker in workers.items()}
        for size in sizes:
            print(f"{what}: {size}", flush=True)
            found, different = measure(case(what, size), workers, held, settings)
            found = [Point(what, size, *rest) for rest in found]
            points += found
            reasons += [f"{what} {size}: {name} was not timed: {reason}" for name, reason in different.items()]
    return points, reasons


def held_by(worker: Worker, first: Case) -> int:
    """Return the bytes a process holds between runs: the weights, and whatever a first run loads."""
    worker.prepare(first.stage, first.inputs, **first.options)
    worker.release()
    return worker.memory()["now"]


def measure(
    one: Case, workers: dict[str, Worker], held: dict[str, int], settings: Settings
) -> tuple[list[tuple[str, Measurement, int]], dict[str, str]]:
    """Measure one size: outputs compared, memory of one run, then times; also return why targets are missing."""
    same, different = same_outputs(one, workers, REFERENCE)
    peaks = {name: peak_of_run(workers[name], held[name]) for name in same}
    first = take_turns(same, 1)
    fewest, budget = (2, 0.0) if settings.quick else (3, settings.budget)
    times = take_turns(same, number_of_turns(sum(single.median for single in first.values()), budget, fewest, most=9))
    return [(name, times[name], peaks[name]) for name in same], different


def peak_of_run(worker: Worker, held: int) -> int:
    """Return the peak bytes of a run, including its inputs."""
    worker.reset()
    worker.run()
    return max(worker.memory()["peak"] - held, _SMALLEST)


def table(points: list[Point], what: str) -> Table:
    """Return milliseconds and megabytes of each target at each size."""
    of_what = [point for point in points if point.what == what]
    sizes = sorted({point.size for point in of_what})
    rows = []
    for target in TARGETS:
        mine = {point.size: point for point in of_what if point.target == target}
        if mine:
            cells = [mine.get(size) for size in sizes]
            times = [milliseconds(one.time.median, one.time.spread) if one else "" for one in cells]
            rows += [[f"{target}, ms", *times]]
            rows += [[f"{target}, MB", *(f"{one.peak / MEGABYTE:.0f}" if one else "" for one in cells)]]
    return Table([what, *map(str, sizes)], rows)


def slope_table(points: list[Point]) -> Table:
    """Return the exponents."""
    rows = []
    for what in dict.fromkeys(point.what for point in points):
        for target in TARGETS:
            mine = [point for point in points if (point.what, point.target) == (what, target)]
            if len(mine) > 1:
                sizes = [point.size for point in mine]
                times = fit(sizes, [point.time.median for point in mine])
                peaks = fit(sizes, [point.peak for point in mine])
                rows.append([what, target, f"{times.exponent:.2f}", f"{peaks.exponent:.2f}"])
    return Table(["grows with", "library", "slope of time", "slope of memory"], rows, "Slopes")


def record(point: Point) -> dict[str, Any]:
    """Return the values for the JSON file."""
    named = {"what": point.what, "size": point.size, "target": point.target, "peak": point.peak}
    return named | {"median": point.time.median, "spread": point.time.spread, "seconds": point.time.seconds}


def draw(measurements: list[dict[str, Any]], path: Path) -> None:
    """Plot time and memory over each size."""
    panels: dict[str, Any] = {}
    for up, key, unit in (("ms", "median", 1e-3), ("MB", "peak", MEGABYTE)):
        for what in dict.fromkeys(one["what"] for one in measurements):
            lines = {}
            for target in TARGETS:
                mine = [one for one in measurements if (one["what"], one["target"]) == (what, target)]
                if mine:
                    lines[target] = ([one["size"] for one in mine], [one[key] / unit for one in mine])
            panels[f"{up} over {what}"] = (what, up, lines)
    curves(path, panels, slopes=True)
