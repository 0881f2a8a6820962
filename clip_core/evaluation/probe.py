"""The linear probe: how well a linear classifier on frozen embeddings does (Radford et al. 2021, appendix A.3).

As there, the strength of the penalty is chosen on a part of the training data, and the classifier is fitted on all of
them with it. Other than there, the features are the embeddings behind the projection, of unit norm: they are what every
backend gives.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.evaluation.classification import classification
from clip_core.evaluation.labelled import LABEL_COLUMN, classes_of, open_labelled, single_labels, stratified
from clip_core.evaluation.logistic import cross_entropy, fit, optimizer
from clip_core.evaluation.pictures import embed_pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from clip_core.data.pairs import Broken
    from clip_core.evaluation.classification import Classification
    from clip_core.evaluation.logistic import Regression
    from clip_core.tasks.labels import LabelFile
    from clip_core.tasks.zero_shot import ZeroShotClassifier

VALIDATION = 0.2  # the share of the training data that the strength is chosen on
LARGEST = 48  # strengths go from 1e-6 to 1e6 in eighths of a decade


@dataclass(frozen=True)
class Trial:
    """A strength that was tried.

    Attributes:
        strength: of the penalty, the paper's lambda; scikit-learn's `C` is its inverse.
        accuracy: on the validation part.
        loss: likewise, the mean cross entropy.
    """

    strength: float
    accuracy: float
    loss: float


@dataclass(frozen=True)
class ProbeReport:
    """What was found.

    Attributes:
        result: the accuracies on the test data.
        training_pictures: the classifier was fitted on so many.
        strength: of the penalty.
        trials: the strengths that were tried, in order.
        iterations: of the last fit.
        converged: whether it was done before there were 1000.
        broken: samples that were left out, of both parts.
    """

    result: Classification
    training_pictures: int
    strength: float
    trials: list[Trial]
    iterations: int
    converged: bool
    broken: list[Broken]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as for JSON."""
        return asdict(self)


def evaluate(
    classifier: ZeroShotClassifier,
    source: Any,
    test: Any = None,
    *,
    test_share: float = 0.2,
    labels: LabelFile | None = None,
    label_column: str = LABEL_COLUMN,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    tell: Callable[[int], object] | None = None,
) -> ProbeReport:
    """Fit a linear classifier on the embeddings of pictures, and evaluate it on others.

    Args:
        classifier: the model and its processor.
        source: the training data; see `clip_core.evaluation.zero_shot.evaluate`.
        test: the test data; by default a part of `source` is held out, the same share of each class.
        test_share: how large a part.
        labels: names of the labels in the data; see `clip_core.evaluation.labelled.classes_of`.
        label_column: the column of labels.
        batch_size: pictures that are encoded at a time.
        workers: processes that decode pictures; 0 for none but this one.
        seed: of the parts that are held out.
        tell: is called with the number of samples that were done since it was called last.

    Raises:
        ImportError: SciPy is not installed.
        ValueError: the data cannot be read, the test data has a class that the training data has not, or there are
            too few pictures.
    """
    optimizer()  # an error now, and not when all pictures are encoded
    sources = [
        open_labelled(one, label_column=label_column, labels=labels) for one in (source, test) if one is not None
    ]
    parts = [embed_pictures(classifier, one, batch_size=batch_size, workers=workers, tell=tell) for one in sources]
    embeds = np.concatenate([part.embeds for part in parts])
    names, truths = classes_of([label for part in parts for label in single_labels(part.texts)], labels)
    if test is None:
        training, tested = stratified(truths, test_share, seed, "test")
    else:
        training, tested = np.split(np.arange(len(truths)), [len(parts[0].texts)])
    broken = [sample for part in parts for sample in part.broken]
    known, its_truths = embeds[training], truths[training]
    return from_embeddings(known, its_truths, embeds[tested], truths[tested], names, seed=seed, broken=broken)


def from_embeddings(
    train_embeds: np.ndarray,
    train_truths: np.ndarray,
    test_embeds: np.ndarray,
    test_truths: np.ndarray,
    names: Sequence[str],
    *,
    seed: int = 0,
    broken: Sequence[Broken] = (),
) -> ProbeReport:
    """Fit and evaluate, from embeddings.

    Args:
        train_embeds: `(training pictures, projection)`.
        train_truths: `(training pictures,)`, the number of each picture's class.
        test_embeds: `(test pictures, projection)`.
        test_truths: `(test pictures,)`.
        names: of the classes, by number.
        seed: of the part that the strength is chosen on.
        broken: samples that were left out before.

    Raises:
        ImportError: SciPy is not installed.
        ValueError: a test picture's class has no training picture, or there are too few pictures.
    """
    present = np.unique(train_truths)
    unknown = [names[number] for number in np.unique(test_truths) if number not in present]
    if unknown:
        raise ValueError(f"classes of the test data that have no training picture: {', '.join(map(repr, unknown))}")
    names = [names[number] for number in present]
    train_truths, test_truths = np.searchsorted(present, train_truths), np.searchsorted(present, test_truths)
    kept, held = stratified(train_truths, VALIDATION, seed, "validation")
    trials = sweep(train_embeds[kept], train_truths[kept], train_embeds[held], train_truths[held], len(names))
    best = max(trials, key=_merit)
    last = fit(train_embeds, train_truths, len(names), best.strength)
    return ProbeReport(
        result=classification(lambda rows: last.scores(test_embeds[rows]), test_truths, names),
        training_pictures=len(train_truths),
        strength=best.strength,
        trials=trials,
        iterations=last.iterations,
        converged=last.converged,
        broken=list(broken),
    )


def sweep(
    features: np.ndarray, truths: np.ndarray, held_features: np.ndarray, held_truths: np.ndarray, classes: int
) -> list[Trial]:
    """Try strengths from 1e-6 to 1e6: every second decade, then around the best at half the distance, to an eighth.

    Args:
        features: `(rows, features)`, to fit on.
        truths: `(rows,)`, the number of each row's class.
        held_features: `(held rows, features)`, to evaluate on.
        held_truths: `(held rows,)`.
        classes: how many there are.
    """
    tried: dict[int, tuple[Trial, Regression]] = {}  # by eighths of a decade
    step, wanted = 16, list(range(LARGEST, -LARGEST - 1, -16))
    while step:
        for eighths in wanted:
            start = tried[_nearest(tried, eighths)][1].weights if tried else None
            regression = fit(features, truths, classes, 10 ** (eighths / 8), start=start)
            logits = regression.scores(held_features)
            accuracy = float((logits.argmax(-1) == held_truths).mean())
            trial = Trial(10 ** (eighths / 8), accuracy, cross_entropy(logits, held_truths))
            tried[eighths] = trial, regression
        step //= 2
        best = max(tried, key=lambda eighths: _merit(tried[eighths][0]))
        wanted = [eighths for eighths in (best - step, best + step) if eighths not in tried and abs(eighths) <= LARGEST]
    return [tried[eighths][0] for eighths in sorted(tried)]


def _nearest(tried: Iterable[int], eighths: int) -> int:
    return min(tried, key=lambda one: abs(one - eighths))


def _merit(trial: Trial) -> tuple[float, float]:
    """By accuracy, which small data often makes the same for many strengths, and then by loss."""
    return trial.accuracy, -trial.loss
