"""Row 5: forward passes on the CPU in each framework, beside transformers 4.57.6 and 5, open_clip and ONNX Runtime.

Each library runs in its own process, with the same weights and number of threads, and all take turns. Texts have 77
tokens. Our PyTorch model runs both as loaded and prepared for inference; TensorFlow runs graphs and Flax compiled
functions, for us and transformers alike.

The tables come from rounds in which every library takes a turn. Targets are checked against separate rounds of two,
more of which fit the time: the value is the median of the per-round ratios, with its 90% confidence interval (by the
sign test) in parentheses. A target missed while the interval contains it is missed within the noise. The machine's
multiplication rate, from sgemm of two large square matrices, is measured in turns with the model in the same way.
"""

from __future__ import annotations

import statistics
from functools import partial
from typing import TYPE_CHECKING, Any

import checkpoints
import numpy as np
from flops import image_flops, text_flops
from goals import Goal, at_least, at_most
from interleaved import Case, Timed, add_duels, ratios, time_case
from plots import relative_curves
from report import Report, Table, milliseconds
from targets import TARGETS, framework
from workers import plainly, started

from clip_core.configuration import CLIPConfig
from converters.conversion import convert

if TYPE_CHECKING:
    from pathlib import Path

    from interleaved import Timeable
    from remote import Worker
    from settings import Settings

REFERENCE = "transformers-torch"
PREPARED, ONNX, PRODUCT = "ours-prepared-torch", "onnxruntime", "matmul"
PEERS = {ours: f"transformers-{framework(ours)}" for ours in ("ours-torch", PREPARED, "ours-tf", "ours-flax")}
BESIDE_ONNX = {1: 1.1, 16: 1.0}  # maximum fraction of its time, by batch
BATCHES = (1, 2, 4, 8, 16, 32, 64)
QUICK_BATCHES = (1, 2)
MATRIX = 2048  # width: large enough for the peak rate, small enough for a short turn
# The lines of the plot: label and style.
DRAWN: dict[str, tuple[str, dict[str, Any]]] = {
    "ours-torch": ("clip-zoo, as loaded", {"color": "#4f93d2", "linewidth": 1.6}),
    PREPARED: ("clip-zoo, prepared", {"color": "#0b5cad", "linewidth": 2.6}),
    ONNX: ("ONNX Runtime", {"color": "#c2701c", "linewidth": 1.6}),
}
OF_SGEMM, AT_BATCH = 0.9, 16  # minimum fraction of its rate
# Reason that a model falls short of the rate for large square matrices.
NARROW = "attention multiplies narrow matrices, 50 to 77 wide, and norms and softmax multiply none"
STAGES = {"images": "Image features", "texts": "Text features", "full": "Full forward"}


def cases(*, quick: bool) -> list[Case]:
    """Return every stage at every batch size."""
    found = []
    for stage, title in STAGES.items():
        for batch in QUICK_BATCHES if quick else BATCHES:
            images, texts = {"pixel_values": checkpoints.pictures(batch)}, checkpoints.texts(batch)
            inputs = {"images": images, "texts": texts, "full": {**texts, **images}}[stage]
            found.append(Case(f"{title}, batch {batch}", stage, inputs, {"batch": batch}))
    return found


def report(settings: Settings) -> Report:
    """Run the benchmark."""
    checkpoint, fields = settings.scratch / "forward", checkpoints.TINY if settings.quick else checkpoints.VIT_B_32
    checkpoints.write_random(checkpoint, CLIPConfig(**fields))
    convert(checkpoint, f"{checkpoint}-open_clip", "open_clip")
    written = Report("forward", "Forward passes on the CPU", __doc__ or "", quick=settings.quick)
    with started(checkpoint, plainly(TARGETS)) as (workers, left_out):
        for worker in workers.values():
            written.versions |= worker.versions
        product = workers.pop(PRODUCT)
        matrix = np.random.default_rng(0).standard_normal((MATRIX, MATRIX), dtype=np.float32)
        product.prepare("product", {"matrix": matrix})
        timed = [measured(case, workers, product, settings) for case in cases(quick=settings.quick)]
    written.tables = [table(timed, stage) for stage in STAGES]
    written.measurements = [one.record() for one in timed]
    written.goals = goals(timed, CLIPConfig(**fields))
    written.notes = [beyond_the_noise(written.goals), *notes(timed, left_out)]
    written.plot = partial(draw, written.measurements)
    return written


def measured(case: Case, workers: dict[str, Worker], product: Timeable, settings: Settings) -> Timed:
    """Measure one case: rounds of all libraries for the tables, and rounds of two for the targets."""
    print(case.name, flush=True)
    budget, fewest = (0.0, 2) if settings.quick else (settings.budget, 3)
    timed = time_case(case, workers, reference=REFERENCE, budget=budget / 2, fewest=fewest)
    pairs, batch = list(PEERS.items()), case.facts["batch"]
    pairs += [(PREPARED, ONNX)] if batch in BESIDE_ONNX else []
    pairs += [(PREPARED, PRODUCT)] if batch == AT_BATCH else []
    add_duels(timed, workers | {PRODUCT: product}, pairs, budget=budget / 4, fewest=2 if settings.quick else 5)
    return timed


def table(timed: list[Timed], stage: str) -> Table:
    """Return the milliseconds of each library at each batch size, with spread."""
    of_stage = [one for one in timed if one.case.stage == stage]
    names = [name for name in TARGETS if any(name in one.measurements for one in of_stage)]
    rows = []
    for name in names:
        found = [one.measurements.get(name) for one in of_stage]
        rows.append([name, *(milliseconds(one.median, one.spread) if one else "" for one in found)])
    columns = ["ms at batch", *(str(one.case.facts["batch"]) for one in of_stage)]
    return Table(columns, rows, STAGES[stage])


def goals(timed: list[Timed], config: CLIPConfig) -> list[Goal]:
    """Return the targets: transformers in the same framework, ONNX Runtime, and the fraction of sgemm's rate."""
    found = []
    for ours, peer in PEERS.items():
        for one, ratio in ratios(timed, ours, peer):
            found.append(at_most(f"{one.case.name}, {ours} over transformers 4.57.6", ratio, 1.0))
    for one, ratio in ratios(timed, PREPARED, ONNX):
        limit = BESIDE_ONNX.get(one.case.facts["batch"])
        if limit is not None:
            found.append(at_most(f"{one.case.name}, {PREPARED} over ONNX Runtime", ratio, limit))
    for one, ratio in ratios(timed, PRODUCT, PREPARED):
        share = ratio.times(AT_BATCH * _flops(one.case.stage, config) / (2 * MATRIX**3))
        found.append(at_least(f"{one.case.name}, {PREPARED}: share of sgemm's rate", share, OF_SGEMM, why=NARROW))
    return found


def beyond_the_noise(found: list[Goal]) -> str:
    """Report how many loaded models are significantly slower than the peer, and how many chance alone predicts."""
    alike = [goal for goal in found if "transformers" in goal.what and PREPARED not in goal.what]
    above = sum(not goal.reached and not goal.is_close for goal in alike)
    return (
        f"{above} of {len(alike)} models as loaded are significantly slower than transformers; chance alone predicts "
        f"{len(alike) / 20:.0f}, because a 90% interval lies above the true value one time in twenty. The intervals do "
        "not cover variation between processes, so another run misses other targets."
    )


def notes(timed: list[Timed], left_out: dict[str, str]) -> list[str]:
    """Report the machine's rate and the libraries left out."""
    products = [both[PRODUCT].median for one in timed for both in one.duels.values() if PRODUCT in both]
    found = []
    if products:
        rate = 2 * MATRIX**3 / statistics.median(products)
        found.append(f"sgemm of {MATRIX} x {MATRIX}: {rate / 1e9:.0f} GFLOP/s on these threads.")
    found += [f"{name} was left out: {_last_line(reason)}" for name, reason in left_out.items()]
    found += [
        f"{one.case.name}: {name} was not timed: {_last_line(reason)}"
        for one in timed
        for name, reason in one.left_out.items()
    ]
    return found


def draw(measurements: list[dict[str, Any]], path: Path) -> None:
    """Plot PyTorch's time relative to transformers over batch size; the tables cover every library."""
    panels = {}
    for stage in ("images", "texts"):
        lines = {}
        for target, (name, _) in DRAWN.items():
            points = {
                one["batch"]: _median_ratio(one["targets"][target]["seconds"], one["targets"][REFERENCE]["seconds"])
                for one in measurements
                if one["stage"] == stage and {target, REFERENCE} <= one["targets"].keys()
            }
            if points:
                lines[name] = (list(points), list(points.values()))
        if lines:
            panels[STAGES[stage]] = ("batch size", lines)
    styles = dict(DRAWN.values())
    up = "relative time (lower is faster)"
    relative_curves(path, panels, up=up, baseline="transformers 4.57.6", styles=styles, limits=(0.5, 1.05))


def _median_ratio(own: list[float], other: list[float]) -> float:
    return statistics.median(one / beside for one, beside in zip(own, other, strict=True))


def _flops(stage: str, config: CLIPConfig) -> float:
    image, text = image_flops(config), text_flops(config, checkpoints.texts(1)["input_ids"].shape[1])
    return {"images": image, "texts": text, "full": image + text}[stage]


def _last_line(reason: str) -> str:
    return reason.strip().splitlines()[-1]
