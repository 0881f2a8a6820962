"""How well pictures are told apart into classes, from scores: in all, by class, and what is taken for what."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.evaluation.metrics import ranks, recall_at, row_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MISTAKES = 3  # the commonest of a class


@dataclass(frozen=True)
class ClassResult:
    """How one class fared.

    Attributes:
        name: of the class.
        pictures: how many are of it.
        accuracy: the share of them for which it scored highest.
        taken_for: the classes that they were taken for most often otherwise, with how many.
    """

    name: str
    pictures: int
    accuracy: float
    taken_for: dict[str, int]


@dataclass(frozen=True)
class Classification:
    """How all fared.

    Attributes:
        pictures: how many.
        classes: how many to choose from.
        top_1: the share of pictures whose class scored highest; a tie is not enough.
        top_5: the share of pictures whose class is among the five highest; 1 where there are no more than five.
        mean_per_class: the mean of the classes' accuracies, of those that have pictures.
        by_class: those classes, worst first.
    """

    pictures: int
    classes: int
    top_1: float
    top_5: float
    mean_per_class: float
    by_class: list[ClassResult]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as for JSON."""
        return asdict(self)


def classification(score: Callable[[slice], np.ndarray], truths: np.ndarray, names: Sequence[str]) -> Classification:
    """Count from scores.

    Args:
        score: gives `(rows, classes)` for a slice of the pictures; the higher, the likelier.
        truths: `(pictures,)`, the number of each picture's class.
        names: of the classes.

    Raises:
        ValueError: there are fewer than two classes.
    """
    if len(names) < 2:
        raise ValueError(f"there is one class alone, {names[0]!r}, and nothing to tell it from")
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
