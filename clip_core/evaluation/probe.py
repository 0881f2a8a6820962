"""Linear probe: a linear classifier on frozen embeddings (Radford et al. 2021, appendix A.3).

As in the paper, the penalty is chosen on a part of the training data, and the classifier is then fitted on all of it.
Unlike in the paper, the features are the projected embeddings of unit norm, because every backend provides them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.evaluation.classification import classification
from clip_core.evaluation.images import embed_images
from clip_core.evaluation.labelled import classes_of, open_labelled, single_labels, stratified
from clip_core.evaluation.logistic import cross_entropy, fit, optimizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from clip_core.data.pairs import Broken
    from clip_core.evaluation.classification import Classification
    from clip_core.evaluation.logistic import Regression
    from clip_core.tasks.labels import LabelFile
    from clip_core.tasks.zero_shot import ZeroShotClassifier

VALIDATION = 0.2  # fraction of the training data used to choose the penalty
LARGEST = 48  # strengths range from 1e-6 to 1e6 in eighths of a decade


@dataclass(frozen=True)
class Trial:
    """One strength of the penalty and its result.

    Attributes:
        strength: the paper's lambda; scikit-learn's `C` is its inverse.
        accuracy: validation accuracy.
        loss: validation loss, the mean cross-entropy.
    """

    strength: float
    accuracy: float
    loss: float


@dataclass(frozen=True)
class ProbeReport:
    """The result of a linear probe.

    Attributes:
        result: the accuracies on the test data.
        training_pictures: number of images the classifier was fitted on.
        strength: the chosen penalty.
        trials: the strengths tried, in ascending order.
        iterations: iterations of the final fit.
        converged: True if it converged within 1000 iterations.
        broken: the samples left out of the training and test data.
    """

    result: Classification
    training_pictures: int
    strength: float
    trials: list[Trial]
    iterations: int
    converged: bool
    broken: list[Broken]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as for JSON."""
        return asdict(self)


def evaluate(
    classifier: ZeroShotClassifier,
    source: Any,
    test: Any = None,
    *,
    test_share: float = 0.2,
    labels: LabelFile | None = None,
    label_column: str | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    tell: Callable[[int], object] | None = None,
) -> ProbeReport:
    """Fit a linear classifier on the embeddings of images, and evaluate it on others.

    Args:
        classifier: the model and its processor.
        source: the training data; see `clip_core.evaluation.zero_shot.evaluate`.
        test: the test data; by default a stratified part of `source` is held out.
        test_share: the fraction to hold out.
        labels: names of the labels in the data; see `clip_core.evaluation.labelled.classes_of`.
        label_column: the column of labels; see `open_labelled`.
        batch_size: images to encode at a time.
        workers: processes that decode images; 0 to use this process only.
        seed: seed of the splits.
        tell: progress callback, called with the number of samples done since the last call.

    Raises:
        ImportError: if SciPy is not installed.
        ValueError: if the data cannot be read, the test data has a class that the training data lacks, or there are too
            few images.
    """
    optimizer()  # raises early if SciPy is missing
    sources = [
        open_labelled(one, label_column=label_column, labels=labels) for one in (source, test) if one is not None
    ]
    parts = [embed_images(classifier, one, batch_size=batch_size, workers=workers, tell=tell) for one in sources]
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
    """Fit and evaluate a linear probe from embeddings.

    Args:
        train_embeds: `(training images, projection)`.
        train_truths: `(training images,)`, the class index of each image.
        test_embeds: `(test images, projection)`.
        test_truths: `(test images,)`, the class index of each image.
        names: names of the classes, by index.
        seed: seed of the validation split.
        broken: samples already left out.

    Raises:
        ImportError: if SciPy is not installed.
        ValueError: if a test image's class has no training image, or there are too few images.
    """
    present = np.unique(train_truths)
    unknown = [names[number] for number in np.unique(test_truths) if number not in present]
    if unknown:
        raise ValueError(f"the test data has classes without a training image: {', '.join(map(repr, unknown))}")
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
    """Try strengths from 1e-6 to 1e6: every second decade, then around the best, halving the step down to 1/8.

    Args:
        features: `(rows, features)`, to fit on.
        truths: `(rows,)`, the class index of each row.
        held_features: `(held rows, features)`, to evaluate on.
        held_truths: `(held rows,)`, the class index of each row.
        classes: number of classes.

    Returns:
        One trial per strength, in ascending order.
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
    """Return accuracy, then loss as the tie-breaker: small data often yields equal accuracies."""
    return trial.accuracy, -trial.loss
