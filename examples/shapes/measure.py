"""What a model knows of shapes, measured on pairs of a colour and a shape that its training never showed."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet
from captions import name, names
from PIL import Image
from scenes import COLOURS, SHAPES

from clip_core.evaluation import retrieval, zero_shot

if TYPE_CHECKING:
    from pathlib import Path

    from clip_core import ZeroShotClassifier

GALLERY = 100


@dataclass(frozen=True)
class Results:
    """Shares from 0 to 1.

    Attributes:
        pictures: how many were looked at.
        colour: named rightly among ten.
        shape: likewise.
        both: colour and shape named rightly at once, among a hundred names.
        both_by_kind: the same for each size and number.
        text_to_image: recall at 1 in a gallery of a hundred pictures with distinct captions.
        image_to_text: likewise.
    """

    pictures: int
    colour: float
    shape: float
    both: float
    both_by_kind: dict[str, float]
    text_to_image: float
    image_to_text: float


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file that `generate.py` wrote, with pictures decoded."""
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    for row in rows:
        row["image"] = Image.open(io.BytesIO(row["image"])).convert("RGB")
        row["name"] = name(row["colour"], row["shape"])
    return rows


def measure(classifier: ZeroShotClassifier, rows: list[dict[str, Any]]) -> Results:
    """Measure a model.

    Args:
        classifier: the model.
        rows: pictures with `text`, `colour`, `shape` and `name`.
    """
    colour = _accuracy(classifier, rows, "colour", list(COLOURS), [f"{{}} {shape}" for shape in SHAPES])
    shape = _accuracy(classifier, rows, "shape", list(SHAPES), [f"{colour} {{}}" for colour in COLOURS])
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        for kind in (row["size"], row["number"]):
            kinds.setdefault(kind, []).append(row)
    there, back = _recall(classifier, rows)
    return Results(
        pictures=len(rows),
        colour=colour,
        shape=shape,
        both=_accuracy(classifier, rows, "name", names(), ["{}"]),
        both_by_kind={kind: _accuracy(classifier, some, "name", names(), ["{}"]) for kind, some in kinds.items()},
        text_to_image=back,
        image_to_text=there,
    )


def _accuracy(
    classifier: ZeroShotClassifier, rows: list[dict[str, Any]], column: str, labels: list[str], templates: list[str]
) -> float:
    report = zero_shot.evaluate(
        classifier, rows, labels=labels, templates=templates, label_column=column, batch_size=256
    )
    return report.result.top_1


def _recall(classifier: ZeroShotClassifier, rows: list[dict[str, Any]]) -> tuple[float, float]:
    """The mean over galleries, image to text and text to image."""
    distinct = list({row["text"]: row for row in rows}.values())
    galleries = [distinct[start : start + GALLERY] for start in range(0, len(distinct) - GALLERY + 1, GALLERY)]
    reports = [retrieval.evaluate(classifier, gallery, batch_size=GALLERY) for gallery in galleries]
    there = np.mean([report.image_to_text.recall[1] for report in reports])
    back = np.mean([report.text_to_image.recall[1] for report in reports])
    return float(there), float(back)
