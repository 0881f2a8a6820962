"""Row 5: forward passes on the CPU in each framework, beside transformers 4.57.6 and 5, open_clip and ONNX Runtime.

Each library is in a process of its own, with the same weights and as many threads, and all take turns. Texts have 77
tokens. Our PyTorch model runs as it is loaded, and prepared for inference; TensorFlow runs graphs and Flax compiled
functions, ours and transformers' alike. What the machine multiplies at best is measured in the same turns.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import checkpoints
import numpy as np
from flops import image_flops, text_flops
from goals import Goal, at_least, at_most
from interleaved import Case, Timed, ratios, rounds_won, take_turns, time_case
from plots import curves
from report import Report, Table, milliseconds
from targets import TARGETS, framework
from workers import plainly, started

from clip_core.configuration import CLIPConfig
from converters.convert import convert

if TYPE_CHECKING:
    from pathlib import Path

    from interleaved import Runner
    from remote import Worker
    from settings import Settings

REFERENCE = "transformers-torch"
PREPARED = "ours-prepared-torch"
BATCHES = (1, 2, 4, 8, 16, 32, 64)
QUICK_BATCHES = (1, 2)
MATRIX = 2048  # wide: large enough for the best rate, small enough for a short turn
# Why a model does not multiply at the rate of large square matrices.
NARROW = (
    "the rate is the best of several large products, this a median; attention multiplies matrices 50 to 77 wide, and "
    "norms and soft-max multiply nothing"
)
STAGES = {"images": "Image features", "texts": "Text features", "full": "Full forward"}


def cases(*, quick: bool) -> list[Case]:
    """Every stage at every batch size."""
    found = []
    for stage, title in STAGES.items():
        for batch in QUICK_BATCHES if quick else BATCHES:
            images, texts = {"pixel_values": checkpoints.pictures(batch)}, checkpoints.texts(batch)
            inputs = {"images": images, "texts": texts, "full": {**texts, **images}}[stage]
            found.append(Case(f"{title}, batch {batch}", stage, inputs, {"batch": batch}))
    return found


def report(settings: Settings) -> Report:
    """Measure all."""
    checkpoint, fields = settings.scratch / "forward", checkpoints.TINY if settings.quick else checkpoints.VIT_B_32
    checkpoints.write_random(checkpoint, CLIPConfig(**fields))
    convert(checkpoint, f"{checkpoint}-open_clip", "open_clip")
    written = Report("forward", "Forward passes on the CPU", __doc__ or "", quick=settings.quick)
    with started(checkpoint, plainly(TARGETS)) as (workers, left_out):
        for worker in workers.values():
            written.versions |= worker.versions
        peak = sgemm(workers.pop("matmul"))
        timed = [measured(case, workers, settings) for case in cases(quick=settings.quick)]
    written.tables = [table(timed, stage) for stage in STAGES]
    written.measurements = [one.record() for one in timed]
    written.goals = goals(timed, CLIPConfig(**fields), peak)
    written.notes = notes(timed, left_out, peak)
    written.plot = partial(draw, timed)
    return written


def measured(case: Case, workers: dict[str, Worker], settings: Settings) -> Timed:
    """One case, told as it is done."""
    print(case.name, flush=True)
    fewest = 2 if settings.quick else 5
    budget = 0.0 if settings.quick else settings.budget
    return time_case(case, workers, reference=REFERENCE, budget=budget, fewest=fewest)


def sgemm(worker: Runner) -> float:
    """Floating-point operations a second of the best of several products of matrices."""
    matrix = np.random.default_rng(0).standard_normal((MATRIX, MATRIX), dtype=np.float32)
    worker.prepare("product", {"matrix": matrix})
    return 2 * MATRIX**3 / min(take_turns({"matmul": worker}, 5)["matmul"].seconds)


def table(timed: list[Timed], stage: str) -> Table:
    """Milliseconds of each library at each batch size, with its spread."""
    of_stage = [one for one in timed if one.case.stage == stage]
    names = [name for name in TARGETS if any(name in one.measurements for one in of_stage)]
    rows = []
    for name in names:
        found = [one.measurements.get(name) for one in of_stage]
        rows.append([name, *(milliseconds(one.median, one.spread) if one else "" for one in found)])
    columns = ["ms at batch", *(str(one.case.facts["batch"]) for one in of_stage)]
    return Table(columns, rows, STAGES[stage])


def goals(timed: list[Timed], config: CLIPConfig, peak: float) -> list[Goal]:
    """No slower than transformers in the same framework; beside ONNX Runtime; and the share of sgemm's rate."""
    found = []
    for ours in ("ours-torch", PREPARED, "ours-tf", "ours-flax"):
        peer = f"transformers-{framework(ours)}"
        for one, ratio in ratios(timed, ours, peer):
            what, why = f"{one.case.name}, {ours} over transformers 4.57.6", rounds_won(one, ours, peer)
            found.append(at_most(what, ratio, 1.0, why=why))
    for one, ratio in ratios(timed, PREPARED, "onnxruntime"):
        limit = {1: 1.1, 16: 1.0}.get(one.case.facts["batch"])
        if limit is not None:
            what, why = f"{one.case.name}, {PREPARED} over ONNX Runtime", rounds_won(one, PREPARED, "onnxruntime")
            found.append(at_most(what, ratio, limit, why=why))
    for one in timed:
        own = one.median(PREPARED)
        if own is not None and one.case.facts["batch"] == 16:
            share = 16 * _flops(one.case.stage, config) / own / peak
            found.append(at_least(f"{one.case.name}, {PREPARED} of sgemm's rate", share, 0.9, why=NARROW))
    return found


def notes(timed: list[Timed], left_out: dict[str, str], peak: float) -> list[str]:
    """The machine's rate, and who was left out."""
    found = [f"sgemm of {MATRIX} x {MATRIX}: {peak / 1e9:.0f} GFLOP/s on these threads."]
    found += [f"{name} was left out: {_last_line(reason)}" for name, reason in left_out.items()]
    found += [
        f"{one.case.name}: {name} was not timed: {_last_line(reason)}"
        for one in timed
        for name, reason in one.left_out.items()
    ]
    return found


def draw(timed: list[Timed], path: Path) -> None:
    """Milliseconds a picture or text over the batch, for each stage."""
    panels: dict[str, Any] = {}
    for stage, title in STAGES.items():
        lines = {}
        for name in TARGETS:
            found = [(one.case.facts["batch"], one.median(name)) for one in timed if one.case.stage == stage]
            points = [(batch, 1e3 * median / batch) for batch, median in found if median is not None]
            if points:
                lines[name] = tuple(zip(*points, strict=True))
        panels[title] = ("batch", "ms for each of the batch", lines)
    curves(path, panels)


def _flops(stage: str, config: CLIPConfig) -> float:
    image, text = image_flops(config), text_flops(config, checkpoints.texts(1)["input_ids"].shape[1])
    return {"images": image, "texts": text, "full": image + text}[stage]


def _last_line(reason: str) -> str:
    return reason.strip().splitlines()[-1]
