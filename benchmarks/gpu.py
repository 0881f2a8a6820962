"""Row 8: one CUDA GPU. ViT-L/14 in fp16, ours beside transformers 5, with every attention and compiled, in turns.

The three tables are those of transformers' page on CLIP: text model, vision model and full model. Compiled means
`model.compile`, which replays the kernels of a forward pass as one CUDA graph. Texts have 77 tokens. Large batches in
bf16 then show how near torch and Flax come to what the GPU multiplies at best.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import checkpoints
import numpy as np
from flops import image_flops
from goals import Goal, at_least, at_most
from interleaved import Case, Timed, ratios, take_turns, time_case
from plots import curves
from report import Report, Table, milliseconds
from settings import UnavailableError
from workers import started

from clip_core.configuration import CLIPConfig

if TYPE_CHECKING:
    from pathlib import Path

    from remote import Worker
    from settings import Settings

LIBRARIES = {"ours": "ours-torch", "transformers 5": "transformers5-torch"}
WAYS: dict[str, dict[str, Any]] = {
    "eager": {"attn_implementation": "eager"},
    "sdpa": {"attn_implementation": "sdpa"},
    "flash_attention_2": {"attn_implementation": "flash_attention_2"},
    "compiled": {"attn_implementation": "sdpa", "compiled": True},
}
REFERENCE = "transformers 5 eager"
LABELS = (4, 16, 32, 64, 128)
IMAGES = (1, 4, 16, 32)
FULL_LABELS = (4, 16, 64)
LARGE = (256, 512)
MATRIX = 8192
SMALL = {"CLIPTextModel": 4, "CLIPVisionModel": 1, "CLIPModel": 1}  # batches where launches cost the time


def cases(class_name: str) -> list[Case]:
    """The rows of the model class's table."""
    if class_name == "CLIPTextModel":
        return [Case(f"{n} texts", "tower", checkpoints.texts(n), {"batch": n}) for n in LABELS]
    if class_name == "CLIPVisionModel":
        pictures = {n: {"pixel_values": checkpoints.pictures(n)} for n in IMAGES}
        return [Case(f"{n} pictures", "tower", inputs, {"batch": n}) for n, inputs in pictures.items()]
    return [
        Case(
            f"{n} pictures, {labels} texts",
            "full",
            {**checkpoints.texts(labels), "pixel_values": pixel_values},
            {"batch": n, "labels": labels},
        )
        for n, pixel_values in zip(IMAGES, map(checkpoints.pictures, IMAGES), strict=True)
        for labels in FULL_LABELS
    ]


def report(settings: Settings) -> Report:
    """Measure all.

    Raises:
        UnavailableError: there is no CUDA GPU.
    """
    check_device()
    checkpoint, config = settings.scratch / "gpu", CLIPConfig(**checkpoints.VIT_L_14)
    checkpoints.write_random(checkpoint, config)
    written = Report("gpu", "ViT-L/14 on a GPU", __doc__ or "", quick=settings.quick)
    timed = {class_name: measured(class_name, checkpoint, settings, written) for class_name in SMALL}
    written.tables = [table(class_name, found) for class_name, found in timed.items()]
    written.measurements = [{"class": name} | one.record() for name, found in timed.items() for one in found]
    written.goals = [goal for class_name, found in timed.items() for goal in goals(class_name, found)]
    add_large_batches(written, checkpoint, config, settings)
    written.plot = partial(draw, timed)
    return written


def check_device() -> None:
    """Is there a GPU that PyTorch can use?

    Raises:
        UnavailableError: there is none.
    """
    import torch

    if not torch.cuda.is_available():
        raise UnavailableError(
            f"no CUDA device was found by PyTorch {torch.__version__}, so nothing was measured. `make bench-gpu` on a "
            "machine with one GPU measures this row and writes benchmarks/results/gpu.md."
        )


def measured(class_name: str, checkpoint: Path, settings: Settings, written: Report) -> list[Timed]:
    """The rows of one table, every library in every way in turns."""
    shared = {"class_name": class_name, "device": "cuda", "dtype": "float16"}
    wanted = {
        f"{library} {way}": (target, shared | options)
        for library, target in LIBRARIES.items()
        for way, options in WAYS.items()
    }
    found = []
    with started(checkpoint, wanted) as (workers, left_out):
        note(written, class_name, workers, left_out)
        rows = cases(class_name)[: 1 if settings.quick else None]
        for case in rows:
            print(f"{class_name}: {case.name}", flush=True)
            one = time_case(case, workers, reference=REFERENCE, budget=settings.budget, precision="float16")
            written.notes += [f"{class_name}, {case.name}: {name}: {why}" for name, why in one.left_out.items()]
            found.append(one)
    return found


def note(written: Report, what: str, workers: dict[str, Worker], left_out: dict[str, str]) -> None:
    """Who ran, and who could not."""
    for worker in workers.values():
        written.versions |= worker.versions
    written.notes += [f"{what}: {name} was left out: {why.strip().splitlines()[-1]}" for name, why in left_out.items()]


def table(class_name: str, timed: list[Timed]) -> Table:
    """Milliseconds of every library in every way."""
    names = [f"{library} {way}" for way in WAYS for library in LIBRARIES]
    rows = []
    for one in timed:
        found = [one.measurements.get(name) for name in names]
        rows.append([one.case.name, *(milliseconds(each.median, each.spread) if each else "" for each in found)])
    return Table(["ms", *names], rows, class_name)


def goals(class_name: str, timed: list[Timed]) -> list[Goal]:
    """No row slower than transformers; small batches three times as fast by graphs; FlashAttention never the slower."""
    found = []
    for way in WAYS:
        for one, ratio in ratios(timed, f"ours {way}", f"transformers 5 {way}"):
            found.append(at_most(f"{class_name}, {one.case.name}, {way}: ours over transformers 5", ratio, 1.0))
    for one, ratio in ratios(timed, "transformers 5 sdpa", "ours compiled"):
        if one.case.facts["batch"] <= SMALL[class_name]:
            what = f"{class_name}, {one.case.name}: ours compiled, times as fast as transformers 5 with sdpa"
            found.append(at_least(what, ratio, 3.0))
    for one, ratio in ratios(timed, "ours flash_attention_2", "ours eager"):
        found.append(at_most(f"{class_name}, {one.case.name}: ours, FlashAttention 2 over eager", ratio, 1.0))
    return found


def add_large_batches(written: Report, checkpoint: Path, config: CLIPConfig, settings: Settings) -> None:
    """Image features of large batches in bf16, as a share of the rate of a product of matrices in the same turns."""
    shared = {"device": "cuda", "dtype": "bfloat16"}
    wanted = {
        "matmul": ("matmul", shared),
        "ours-torch": ("ours-torch", shared),
        "ours-flax": ("ours-flax", shared),
    }
    rows = []
    with started(checkpoint, wanted) as (workers, left_out):
        note(written, "bf16", workers, left_out)
        matrix = np.random.default_rng(0).standard_normal((MATRIX, MATRIX), dtype=np.float32)
        workers["matmul"].prepare("product", {"matrix": matrix})
        for batch in LARGE[: 1 if settings.quick else None]:
            for name in workers.keys() - {"matmul"}:
                workers[name].prepare("images", {"pixel_values": checkpoints.pictures(batch)})
            times = take_turns(workers, 3 if settings.quick else 15)
            rate = 2 * MATRIX**3 / times.pop("matmul").median
            for name, one in times.items():
                reached = batch * image_flops(config) / one.median
                rows.append([f"{name}, {batch} pictures", *_teraflops(reached, rate), f"{reached / rate:.0%}"])
                written.goals.append(at_least(f"{name}, {batch} pictures in bf16, of the rate", reached / rate, 0.55))
                written.measurements.append({"bf16": name, "batch": batch, "seconds": one.seconds, "rate": rate})
    columns = ["image features", "TFLOP/s", "product of matrices, TFLOP/s", "share"]
    written.tables.append(Table(columns, rows, "Large batches in bf16"))


def draw(timed: dict[str, list[Timed]], path: Path) -> None:
    """Milliseconds over the batch; of the full model, with 16 texts."""
    panels: dict[str, Any] = {}
    for class_name, found in timed.items():
        lines = {}
        for name in (f"{library} {way}" for way in WAYS for library in LIBRARIES):
            points = [(one.case.facts["batch"], one.median(name)) for one in found if _drawn(one)]
            points = [(batch, 1e3 * median) for batch, median in points if median is not None]
            if points:
                lines[name] = tuple(zip(*points, strict=True))
        panels[class_name] = ("batch", "ms", lines)
    curves(path, panels)


def _drawn(one: Timed) -> bool:
    return one.case.facts.get("labels", FULL_LABELS[1]) == FULL_LABELS[1]


def _teraflops(*rates: float) -> list[str]:
    return [f"{rate / 1e12:.0f}" for rate in rates]
