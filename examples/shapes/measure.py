"""Measurement of a model's knowledge of shapes, on colour-shape pairs that its training never showed."""

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
    """Results as fractions from 0 to 1.

    Attributes:
        pictures: number of images.
        colour: colour accuracy, among ten.
        shape: shape accuracy, among ten.
        both: accuracy of colour and shape together, among a hundred names.
        both_by_kind: the accuracy of both, for each size and number.
        text_to_image: recall at 1 in a gallery of a hundred images with distinct captions.
        image_to_text: recall at 1 in the other direction.
    """

    pictures: int
    colour: float
    shape: float
    both: float
    both_by_kind: dict[str, float]
    text_to_image: float
    image_to_text: float


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a file written by `generate.py`, with decoded images."""
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    for row in rows:
        row["image"] = Image.open(io.BytesIO(row["image"])).convert("RGB")
        row["name"] = name(row["colour"], row["shape"])
    return rows


def measure(classifier: ZeroShotClassifier, rows: list[dict[str, Any]]) -> Results:
    """Measure a model.

    Args:
        classifier: the model.
        rows: images with `text`, `colour`, `shape` and `name`.
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
    """Return the mean over galleries, image to text and text to image."""
    distinct = list({row["text"]: row for row in rows}.values())
    galleries = [distinct[start : start + GALLERY] for start in range(0, len(distinct) - GALLERY + 1, GALLERY)]
    reports = [retrieval.evaluate(classifier, gallery, batch_size=GALLERY) for gallery in galleries]
    there = np.mean([report.image_to_text.recall[1] for report in reports])
    back = np.mean([report.text_to_image.recall[1] for report in reports])
    return float(there), float(back)
