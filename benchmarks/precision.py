"""Row 10: lower precision on the CPU in PyTorch: time saved, and accuracy lost by trained models.

Models prepared for inference in float32 and bfloat16, and one with linear layers in int8 by PyTorch's dynamic
quantization, take turns in one process on random weights of ViT-B/32's size. The loss of accuracy is measured on
trained checkpoints: the demo model, on 2,000 images of colour-shape pairs absent from its training; and, if its folder
is beside the project's, a small CLIP trained on emoji, on 32 drawings by a vendor it never saw.
"""

from __future__ import annotations

import json
import sys
import warnings
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import checkpoints
import torch
from goals import at_least
from interleaved import number_of_turns, take_turns
from PIL import Image
from plots import bars
from report import Report, Table, milliseconds
from timing import Work

import clip_torch
from clip_core.configuration import CLIPConfig
from clip_core.evaluation import zero_shot
from clip_core.processing import CLIPProcessor
from clip_core.tasks.zero_shot import ZeroShotClassifier
from clip_torch.backend import ModelEncoder
from clip_torch.inference import multiplies_bfloat16

if TYPE_CHECKING:
    from collections.abc import Callable

    from settings import Settings

ROOT = Path(__file__).parents[1]
DEMO, EMOJI = ROOT / "examples" / "shapes", ROOT.parent / "shared" / "emoji"
BATCHES = (1, 16, 64)
WHOLE = "float32"
STAGES = {"image{s}": "get_image_features", "text{s} of 77 tokens": "get_text_features"}


def in_float32(folder: Path) -> Any:
    """Load a model in float32, prepared for inference."""
    return clip_torch.CLIPModel.from_pretrained(folder).prepare_for_inference()


def in_bfloat16(folder: Path) -> Any:
    """Load a model in bfloat16, prepared for inference."""
    return clip_torch.CLIPModel.from_pretrained(folder, dtype=torch.bfloat16).prepare_for_inference()


def in_int8(folder: Path) -> Any:
    """Load a model with int8 linear layers, their input scales computed in each run."""
    model = clip_torch.CLIPModel.from_pretrained(folder)
    with warnings.catch_warnings():
        # PyTorch has deprecated its quantized tensors; the replacement is a separate package.
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, torch.qint8)


def ways() -> dict[str, Callable[[Path], Any]]:
    """Return the loaders of the model, by name."""
    found = {WHOLE: in_float32, "bfloat16": in_bfloat16, "int8": in_int8}
    return found if multiplies_bfloat16() else {name: way for name, way in found.items() if name != "bfloat16"}


def report(settings: Settings) -> Report:
    """Run the benchmark."""
    folder, fields = settings.scratch / "precision", checkpoints.TINY if settings.quick else checkpoints.VIT_B_32
    checkpoints.write_random(folder, CLIPConfig(**fields))
    written = Report("precision", "Lower precision on the CPU", __doc__ or "", quick=settings.quick)
    if not multiplies_bfloat16():
        written.notes.append("bfloat16 was left out: this CPU lacks instructions for it.")
    timed = speed(folder, settings)
    kept = accuracy(settings)
    written.tables = [speed_table(timed), *(accuracy_table(title, found) for title, found in kept.items())]
    written.measurements = [*timed, {"accuracy": kept}]
    ratios = ratios_to_whole(timed).items()
    written.goals = [at_least(f"{what}: times as fast as {WHOLE}", ratio, 1.0) for what, ratio in ratios]
    written.plot = partial(draw, written.measurements)
    return written


def ratios_to_whole(timed: list[dict[str, Any]]) -> dict[str, float]:
    """Return how many times as fast as float32 each lower precision is."""
    return {f"{one['case']}, {name}": _ratio(one, name) for one in timed for name in one["seconds"] if name != WHOLE}


def draw(measurements: list[dict[str, Any]], path: Path) -> None:
    """Plot how many times as fast as float32 each lower precision is."""
    values = ratios_to_whole([one for one in measurements if "case" in one])
    bars(path, title="Lower precision", across=f"times as fast as {WHOLE}", values=values, line=1.0)


def speed(folder: Path, settings: Settings) -> list[dict[str, Any]]:
    """Time every variant at every batch size, with the cosine of its features to float32's."""
    models = {name: load(folder) for name, load in ways().items()}
    found = []
    for what, method in STAGES.items():
        for batch in BATCHES[:2] if settings.quick else BATCHES:
            inputs = checkpoints.texts(batch) if "text" in what else {"pixel_values": checkpoints.pictures(batch)}
            given = {name: torch.from_numpy(array) for name, array in inputs.items()}
            runners = {
                name: Work(torch.inference_mode()(partial(getattr(model, method), **given)))
                for name, model in models.items()
            }
            features = {name: torch.nn.functional.normalize(one.function().float()) for name, one in runners.items()}
            first = sum(one.median for one in take_turns(runners, 1).values())
            turns = number_of_turns(first, 0.0 if settings.quick else settings.budget, 2 if settings.quick else 7)
            taken = take_turns(runners, turns)
            found.append(
                {
                    "case": f"{batch} {what.format(s='s' * (batch > 1))}",
                    "seconds": {name: one.seconds for name, one in taken.items()},
                    "median": {name: one.median for name, one in taken.items()},
                    "spread": {name: one.spread for name, one in taken.items()},
                    "cosine": {name: float((one * features[WHOLE]).sum(-1).min()) for name, one in features.items()},
                }
            )
    return found


def speed_table(timed: list[dict[str, Any]]) -> Table:
    """Return milliseconds, ratios, and the minimum cosine."""
    rows = [
        [
            one["case"],
            name,
            milliseconds(one["median"][name], one["spread"][name]),
            f"{_ratio(one, name):.2f}",
            f"{one['cosine'][name]:.5f}",
        ]
        for one in timed
        for name in one["seconds"]
    ]
    columns = ["ViT-B/32", "precision", "ms", f"times as fast as {WHOLE}", f"lowest cosine similarity to {WHOLE}"]
    return Table(columns, rows, "Time")


def accuracy(settings: Settings) -> dict[str, dict[str, dict[str, float]]]:
    """Return the accuracies of each available trained model, for each variant."""
    found = {"The demo model": {name: _of_demo(load, settings) for name, load in ways().items()}}
    if EMOJI.exists():
        found["A CLIP with 8.8 million parameters, trained on emoji"] = {
            name: _of_emoji(load) for name, load in ways().items()
        }
    return found


def accuracy_table(title: str, found: dict[str, dict[str, float]]) -> Table:
    """Return the percentages of each measure."""
    measures = list(found[WHOLE])
    rows = [[name, *(f"{one[measure]:.2%}" for measure in measures)] for name, one in found.items()]
    return Table(["precision", *measures], rows, title)


def _classifier(folder: Path, load: Callable[[Path], Any]) -> ZeroShotClassifier:
    return ZeroShotClassifier(ModelEncoder(load(folder)), CLIPProcessor.from_pretrained(folder))


def _of_demo(load: Callable[[Path], Any], settings: Settings) -> dict[str, float]:
    if str(DEMO) not in sys.path:
        sys.path.append(str(DEMO))
    generate, measure = import_module("generate"), import_module("measure")
    file = settings.scratch / "held-out.parquet"
    if not file.exists():
        generate.write_pictures(settings.scratch, "held-out", 200 if settings.quick else 2_000, seed=0)
    found = measure.measure(_classifier(DEMO / "checkpoint", load), measure.read_rows(file))
    return {
        "colour": found.colour,
        "shape": found.shape,
        "both, among 100 names": found.both,
        "image to text, recall@1": found.image_to_text,
        "text to image, recall@1": found.text_to_image,
    }


def _of_emoji(load: Callable[[Path], Any]) -> dict[str, float]:
    names = json.loads((EMOJI / "labels.json").read_text(encoding="utf-8"))
    rows = []
    for file, name in names.items():
        with Image.open(EMOJI / "pictures" / file) as image:
            rows.append({"image": image.convert("RGB"), "label": name})
    classifier = _classifier(EMOJI / "checkpoint", load)
    found = zero_shot.evaluate(
        classifier, rows, labels=list(names.values()), templates=["a picture of {}"], label_column="label"
    )
    return {"top-1 of 32": found.result.top_1, "top-5 of 32": found.result.top_5}


def _ratio(one: dict[str, Any], name: str) -> float:
    return float(one["median"][WHOLE] / one["median"][name])
