"""Zero-shot classification: the fraction of images closest to their own class name."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from clip_core.configuration.arguments import several
from clip_core.evaluation.classification import classification
from clip_core.evaluation.images import embed_images
from clip_core.evaluation.labelled import choices, classes_of, open_labelled, single_labels
from clip_core.evaluation.texts import tell_apart
from clip_core.tasks.labels import LabelFile
from clip_core.tasks.zero_shot import check_templates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from clip_core.data.pairs import Broken
    from clip_core.evaluation.classification import Classification
    from clip_core.evaluation.texts import Distinct
    from clip_core.tasks.zero_shot import ZeroShotClassifier


@dataclass(frozen=True)
class ZeroShotReport:
    """The result of an evaluation.

    Attributes:
        result: the accuracies.
        templates: the prompts whose embeddings were averaged.
        broken: the samples left out.
    """

    result: Classification
    templates: list[str]
    broken: list[Broken]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as for JSON."""
        return asdict(self)


def evaluate(
    classifier: ZeroShotClassifier,
    source: Any,
    *,
    labels: Sequence[str] | LabelFile | None = None,
    templates: str | Sequence[str] = ("{}",),
    label_column: str | None = None,
    max_length: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    tell: Callable[[int], object] | None = None,
) -> ZeroShotReport:
    """Evaluate a model on labelled images.

    Classes whose names have equal tokens are merged.

    Args:
        classifier: the model and its processor.
        source: a folder with a subfolder of images per class; or anything that `clip_core.data.open_pairs` accepts,
            with a label column; or rows in memory, such as `[{"image": image, "label": "cat"}]`; or a return value of
            `clip_core.evaluation.labelled.open_labelled`.
        labels: the classes to choose from; by default those in the data. See
            `clip_core.evaluation.labelled.classes_of`.
        templates: one or several texts with a `{}` for the class name; the embeddings of several are averaged.
        label_column: the column of labels; see `open_labelled`.
        max_length: tokens per text; by default the tokenizer's own limit.
        batch_size: images to encode at a time.
        workers: processes that decode images; 0 to use this process only.
        tell: progress callback, called with the number of samples done since the last call.

    Raises:
        ValueError: if the data cannot be read, no sample of it can be used, a label is unknown or too long, there are
            fewer than two classes, or a template lacks a `{}`.
        TypeError: if `labels` is a single text.

    Example:
        >>> report = evaluate(classifier, "pictures/", templates=["a photo of a {}."])  # doctest: +SKIP
        >>> report.result.top_1  # doctest: +SKIP
        0.63
    """
    templates = check_templates(templates)
    given = labels if labels is None or isinstance(labels, LabelFile) else LabelFile(several("labels", labels))
    pairs = open_labelled(source, label_column=label_column, labels=given)
    given = choices(pairs, given)

    def embed(names: Sequence[str]) -> tuple[Distinct, np.ndarray]:
        distinct = tell_apart(classifier.processor, names, max_length)
        return distinct, classifier.embed_labels(distinct.texts, templates)

    # A class name that is too long should raise before the images are encoded.
    early = None if given is None else embed(classes_of([], given).names)
    images = embed_images(classifier, pairs, batch_size=batch_size, workers=workers, tell=tell)
    names, truths = classes_of(single_labels(images.texts), given)
    distinct, label_embeds = embed(names) if early is None else early
    result = from_embeddings(images.embeds, label_embeds, distinct.places[truths], distinct.texts)
    return ZeroShotReport(result, list(templates), images.broken)


def from_embeddings(
    image_embeds: np.ndarray, label_embeds: np.ndarray, truths: np.ndarray, names: Sequence[str]
) -> Classification:
    """Compute the accuracies from embeddings.

    Args:
        image_embeds: `(images, projection)` of unit norm.
        label_embeds: `(classes, projection)` of unit norm.
        truths: `(images,)`, the class index of each image.
        names: names of the classes.

    Raises:
        ValueError: if there are fewer than two classes.
    """
    return classification(lambda rows: image_embeds[rows] @ label_embeds.T, truths, names)
