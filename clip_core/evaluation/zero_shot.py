"""Zero-shot classification: the share of pictures that are nearest to their own class's name."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from clip_core.evaluation.classification import classification
from clip_core.evaluation.labelled import LABEL_COLUMN, choices, classes_of, open_labelled, single_labels
from clip_core.evaluation.pictures import embed_pictures
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
    """What was found.

    Attributes:
        result: the accuracies.
        templates: the prompts whose embeddings were averaged.
        broken: samples that were left out.
    """

    result: Classification
    templates: list[str]
    broken: list[Broken]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as for JSON."""
        return asdict(self)


def evaluate(
    classifier: ZeroShotClassifier,
    source: Any,
    *,
    labels: Sequence[str] | LabelFile | None = None,
    templates: Sequence[str] = ("{}",),
    label_column: str = LABEL_COLUMN,
    max_length: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    tell: Callable[[int], object] | None = None,
) -> ZeroShotReport:
    """Evaluate a model on pictures of known classes.

    Classes whose names the tokenizer cannot tell apart are one class.

    Args:
        classifier: the model and its processor.
        source: a folder with a folder of pictures for each class; or what `clip_core.data.open_pairs` takes, with a
            column of labels; or rows in memory, such as `[{"image": picture, "label": "cat"}]`; or what
            `clip_core.evaluation.labelled.open_labelled` returned.
        labels: the classes to choose from; by default those that are in the data. See `classes_of` there.
        templates: texts with a `{}` where the class's name goes; the embeddings of several are averaged.
        label_column: the column of labels.
        max_length: tokens that the model takes; by default what the tokenizer states.
        batch_size: pictures that are encoded at a time.
        workers: processes that decode pictures; 0 for none but this one.
        tell: is called with the number of samples that were done since it was called last.

    Raises:
        ValueError: the data cannot be read, no sample of it can be used, a label is unknown or too long, there are
            fewer than two classes, or a template has no place for a name.

    Example:
        >>> report = evaluate(classifier, "pictures/", templates=["a photo of a {}."])  # doctest: +SKIP
        >>> report.result.top_1  # doctest: +SKIP
        0.63
    """
    check_templates(templates)
    given = LabelFile(list(labels)) if labels is not None and not isinstance(labels, LabelFile) else labels
    pairs = open_labelled(source, label_column=label_column, labels=given)
    given = choices(pairs, given)

    def embed(names: Sequence[str]) -> tuple[Distinct, np.ndarray]:
        distinct = tell_apart(classifier.processor, names, max_length)
        return distinct, classifier.embed_labels(distinct.texts, templates)

    # A name that is too long is better told before all pictures are encoded.
    early = None if given is None else embed(classes_of([], given).names)
    pictures = embed_pictures(classifier, pairs, batch_size=batch_size, workers=workers, tell=tell)
    names, truths = classes_of(single_labels(pictures.texts), given)
    distinct, label_embeds = embed(names) if early is None else early
    result = from_embeddings(pictures.embeds, label_embeds, distinct.places[truths], distinct.texts)
    return ZeroShotReport(result, list(templates), pictures.broken)


def from_embeddings(
    image_embeds: np.ndarray, label_embeds: np.ndarray, truths: np.ndarray, names: Sequence[str]
) -> Classification:
    """The accuracies, from embeddings.

    Args:
        image_embeds: `(pictures, projection)` of unit norm.
        label_embeds: `(classes, projection)` of unit norm.
        truths: `(pictures,)`, the number of each picture's class.
        names: of the classes.

    Raises:
        ValueError: there are fewer than two classes.
    """
    return classification(lambda rows: image_embeds[rows] @ label_embeds.T, truths, names)
