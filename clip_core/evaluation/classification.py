"""Classification metrics from scores: accuracy, accuracy per class, and the most frequent confusions."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.evaluation.metrics import ranks, recall_at, row_blocks
from clip_core.hub.printing import shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MISTAKES = 3  # the most frequent mistakes shown per class


@dataclass(frozen=True)
class ClassResult:
    """The result for one class.

    Attributes:
        name: name of the class.
        pictures: number of its images.
        accuracy: the fraction of its images for which it scored highest.
        taken_for: the classes most often predicted instead, with counts.
    """

    name: str
    pictures: int
    accuracy: float
    taken_for: dict[str, int]


@dataclass(frozen=True)
class Classification:
    """The result over all classes.

    Attributes:
        pictures: number of images.
        classes: number of classes to choose from.
        top_1: the fraction of images whose class scored highest; a tie counts as wrong.
        top_5: the fraction of images whose class is among the five highest; 1 with five classes or fewer.
        mean_per_class: the mean accuracy over the classes that have images.
        by_class: those classes, worst first.
    """

    pictures: int
    classes: int
    top_1: float
    top_5: float
    mean_per_class: float
    by_class: list[ClassResult]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as for JSON."""
        return asdict(self)


def classification(score: Callable[[slice], np.ndarray], truths: np.ndarray, names: Sequence[str]) -> Classification:
    """Compute the metrics from scores.

    Args:
        score: returns `(rows, classes)` for a slice of the images; higher means more likely.
        truths: `(images,)`, the class index of each image.
        names: names of the classes.

    Raises:
        ValueError: if there are fewer than two classes.
    """
    if len(names) < 2:
        raise ValueError(f"{shortened(repr(names[0]))} is the only class; evaluation needs at least two")
    found = np.empty(len(truths), np.int64)
    rivals = np.empty(len(truths), np.int64)
    for rows in row_blocks(len(truths), len(names)):
        scores = score(rows)
        found[rows] = ranks(scores, truths[rows])
        scores = scores.copy()
        scores[np.arange(len(scores)), truths[rows]] = -np.inf
        rivals[rows] = scores.argmax(-1)
    by_class = [_result(number, names, found, truths, rivals) for number in np.unique(truths)]
    return Classification(
        pictures=len(truths),
        classes=len(names),
        top_1=recall_at(found, 1),
        top_5=recall_at(found, 5),
        mean_per_class=float(np.mean([one.accuracy for one in by_class])),
        by_class=sorted(by_class, key=lambda one: (one.accuracy, -one.pictures)),
    )


def _result(
    number: int, names: Sequence[str], found: np.ndarray, truths: np.ndarray, rivals: np.ndarray
) -> ClassResult:
    is_its = truths == number
    mistakes = Counter(rivals[is_its & (found > 1)].tolist()).most_common(_MISTAKES)
    return ClassResult(
        name=names[number],
        pictures=int(is_its.sum()),
        accuracy=recall_at(found[is_its], 1),
        taken_for={names[rival]: count for rival, count in mistakes},
    )
