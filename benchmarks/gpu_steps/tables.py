"""Tables of transformers' CLIP page: ViT-L/14 in float16 with each attention implementation, beside transformers 5.

Texts have 77 tokens. The page's own figures, from another GPU, are shown beside ours. Each run's device memory is also
measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import checkpoints
import numpy as np
from goals import at_most
from interleaved import Case, Timed, ratios
from report import Table, milliseconds

from gpu_steps import page
from gpu_steps.comparison import MEGABYTE, Comparison

if TYPE_CHECKING:
    from collections.abc import Mapping

    from report import Report

    from gpu_steps.step import Record

LIBRARIES = {"ours": "ours-torch", "transformers 5": "transformers5-torch"}
ATTENTIONS = {"eager": "eager", "FA2": "flash_attention_2", "sdpa": "sdpa"}
LABELS = (4, 16, 32, 64, 128)
IMAGES = (1, 4, 16, 32)
FULL_LABELS = (4, 16, 64)
PADDED = 64


def text_cases() -> list[Case]:
    """Return the rows of the text model's table."""
    return [Case(f"{n} texts", "tower", checkpoints.texts(n), {"batch": n}) for n in LABELS]


def padded_cases() -> list[Case]:
    """Return texts of 5 to 77 tokens, padded to 77."""
    ids, mask = checkpoints.texts(PADDED).values()
    for row, length in enumerate(np.linspace(5, ids.shape[1], PADDED).astype(int)):
        ids[row, length - 1 :] = ids[row, -1]  # EOS, also the padding token
        mask[row, length:] = 0
    return [Case(f"{PADDED} padded texts", "tower", {"input_ids": ids, "attention_mask": mask}, {"batch": PADDED})]


def vision_cases() -> list[Case]:
    """Return the rows of the vision model's table."""
    return [Case(pictures(n), "tower", {"pixel_values": checkpoints.pictures(n)}, {"batch": n}) for n in IMAGES]


def full_cases() -> list[Case]:
    """Return the rows of the full model's table."""
    return [
        Case(
            f"{pictures(n)}, {labels} texts",
            "full",
            {**checkpoints.texts(labels), "pixel_values": checkpoints.pictures(n)},
            {"batch": n, "labels": labels},
        )
        for n in IMAGES
        for labels in FULL_LABELS
    ]


def pictures(number: int) -> str:
    """Return the number with its noun."""
    return f"{number} image{'s' * (number > 1)}"


def write_padded(title: str, timed: list[Timed], records: Mapping[str, Record], report: Report) -> None:  # noqa: ARG001
    """Add times of padded texts, supported only by our FlashAttention, and the target that it is never slower."""
    names = list(PADDED_WAYS)
    rows = []
    for one in timed:
        found = [one.measurements.get(name) for name in names]
        rows.append([one.case.name, *(milliseconds(each.median, each.spread) if each else "" for each in found)])
    report.tables.append(Table(["ms", *names], rows, title))
    for _, ratio in ratios(timed, "ours FA2", "ours eager"):
        report.goals.append(at_most(f"{title}: ours, FlashAttention 2 over eager", ratio, 1.0))


PADDED_WAYS: dict[str, tuple[str, dict[str, str]]] = {
    f"{library} {way}": (target, {"class_name": "CLIPTextModel", "attn_implementation": ATTENTIONS[way]})
    for library, target in LIBRARIES.items()
    for way in ATTENTIONS
    if (library, way) != ("transformers 5", "FA2")
}
PADDED_STEP = Comparison("padded", "Padded texts", PADDED_WAYS, padded_cases, "transformers 5 eager", write_padded)

CASES = {"CLIPTextModel": text_cases, "CLIPVisionModel": vision_cases, "CLIPModel": full_cases}
NAMES = {"CLIPTextModel": "text", "CLIPVisionModel": "vision", "CLIPModel": "full"}


def table(class_name: str) -> Comparison:
    """Return the step that measures the table of a model class."""
    wanted = {
        f"{library} {way}": (target, {"class_name": class_name, "attn_implementation": attention})
        for library, target in LIBRARIES.items()
        for way, attention in ATTENTIONS.items()
    }
    return Comparison(NAMES[class_name], class_name, wanted, CASES[class_name], "transformers 5 eager", write)


def write(class_name: str, timed: list[Timed], records: Mapping[str, Record], report: Report) -> None:
    """Add the table, the memory of its largest row, and the targets."""
    names = [f"{library} {way}" for library in LIBRARIES for way in ATTENTIONS]
    there = [f"{page.GPU} {way}" for way in ATTENTIONS]
    rows = []
    for one in timed:
        found = [one.measurements.get(name) for name in names]
        published = [f"{1e3 * seconds:.0f}" for seconds in page.SECONDS[class_name][one.case.name]]
        rows.append(
            [one.case.name, *(milliseconds(each.median, each.spread) if each else "" for each in found), *published]
        )
    report.tables.append(Table(["ms", *names, *there], rows, class_name))
    memory = list(records.values())[-1]["memory"]
    cells = [f"{memory[name] / MEGABYTE:.0f}" if name in memory else "" for name in names]
    report.tables.append(Table(["peak MB", *names], [[timed[-1].case.name, *cells]], f"Memory of {class_name}"))
    for way in ATTENTIONS:
        for one, ratio in ratios(timed, f"ours {way}", f"transformers 5 {way}"):
            what = f"{class_name}, {one.case.name}, {way}: ours over transformers 5"
            report.goals.append(at_most(what, ratio, 1.0))
    for one, ratio in ratios(timed, "ours FA2", "ours eager"):
        what = f"{class_name}, {one.case.name}: ours, FlashAttention 2 over eager"
        report.goals.append(at_most(what, ratio, 1.0))
