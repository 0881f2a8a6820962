"""Labelled images, from folders or any source with a label column, and stratified splits of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from clip_core.configuration.arguments import check_integers
from clip_core.data import Pair, open_pairs
from clip_core.data.folder import FolderPairs, table_in
from clip_core.data.parquet import PARQUET_ENDINGS
from clip_core.data.shards import SHARD_ENDINGS
from clip_core.data.sources import check_no_columns
from clip_core.hub.targets import expanded, given_path
from clip_core.images.inputs import find_images
from clip_core.tasks.labels import LabelFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from clip_core.data.pairs import Pairs


def stratified(truths: np.ndarray, share: float, seed: int, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Hold out a fraction of each class: at least one sample but never all. A class of one sample is kept whole.

    Args:
        truths: `(samples,)`, the class index of each sample.
        share: the fraction to hold out, between 0 and 1.
        seed: seed of the choice.
        what: name of the held-out part in messages, such as "test".

    Returns:
        The sorted indices of the samples kept and of those held out.

    Raises:
        ValueError: if the fraction is not between 0 and 1, or no class has two samples.
    """
    check_integers(seed=(seed, 0))
    if not 0 < share < 1:
        raise ValueError(f"the fraction held out for {what} is {share}; give one between 0 and 1")
    rng = np.random.default_rng(seed)
    is_held = np.zeros(len(truths), np.bool_)
    for number in np.unique(truths):
        samples = rng.permutation(np.flatnonzero(truths == number))
        count = min(max(round(share * len(samples)), 1), len(samples) - 1)
        is_held[samples[:count]] = True
    if not is_held.any():
        raise ValueError(f"no class has two images, so none can be held out for {what}")
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


LABEL_COLUMN = "label"

_SHOWN = 5
_DATA_SET = ("dataset_info.json", "dataset_dict.json")


class Classes(NamedTuple):
    """The classes to distinguish.

    Attributes:
        names: names of the classes.
        truths: `(images,)`, the class index of each image.
    """

    names: list[str]
    truths: np.ndarray


def open_labelled(
    source: Any,
    *,
    label_column: str | None = None,
    image_column: str | None = None,
    labels: LabelFile | None = None,
) -> Pairs:
    """Open images with labels, which take the place of captions.

    Args:
        source: a folder with a subfolder of images per class, at any depth; or anything that
            `clip_core.data.open_pairs` accepts or returns.
        label_column: the column of labels, by default "label": texts, or class indices if the data names its classes,
            as `datasets.ClassLabel` does.
        image_column: the column of images; see `open_pairs`.
        labels: a label file; its labels by file name take precedence over a folder's subfolders.

    Returns:
        The labelled images.

    Raises:
        ValueError: if an image in the folder has no label, or the source cannot be read.
        TypeError: if the source is an object of another kind.
    """
    if isinstance(source, (str, Path)) and _holds_images(expanded(given_path(source))):
        check_no_columns(given_path(source), image_column=image_column, label_column=label_column)
        return _from_folder(expanded(given_path(source)), (labels or LabelFile()).label_of)
    return open_pairs(source, image_column=image_column, caption_column=label_column or LABEL_COLUMN)


def classes_of(labels: Sequence[str], given: LabelFile | None = None) -> Classes:
    """Return the classes behind the labels of images.

    Args:
        labels: `(images,)`, as the data has them.
        given: the classes to choose from. A label in the data is one of their names, with underscores for spaces; one
            of the keys; or the index of a name, from 0. By default the classes are the sorted labels of the data, with
            spaces for underscores.

    Raises:
        ValueError: if a label is not among those given; the message lists the first few.
    """
    if given is None:
        name_of = {label: _spaced(label) for label in labels}
        names = sorted(set(name_of.values()))
    else:
        name_of = {label: name for label in dict.fromkeys(labels) if (name := _known(label, given)) is not None}
        _check_known(labels, name_of)
        names = list(dict.fromkeys(given.names))
    number = {name: place for place, name in enumerate(names)}
    return Classes(names, np.array([number[name_of[label]] for label in labels], np.int64))


def choices(pairs: Pairs, given: LabelFile | None) -> LabelFile | None:
    """Return the classes to choose from if they are known before any image is read; otherwise None.

    Folders and tables state their labels in advance. Checking the labels here fails early, and a class remains a choice
    even if all of its images are broken.

    Args:
        pairs: the labelled images.
        given: the caller's choice of classes, if any.

    Raises:
        ValueError: as in `classes_of`, or if `given` is empty.
    """
    if given is not None and not given.names:
        raise ValueError("labels=... contains no labels; give at least one")
    if not isinstance(pairs, FolderPairs):
        return given
    samples = [pairs[number] for number in range(len(pairs))]
    labels = [pair.captions for pair in samples if isinstance(pair, Pair) and isinstance(pair.captions, tuple)]
    names = classes_of(single_labels(labels), given).names
    return LabelFile(names) if given is None else given


def single_labels(texts: Iterable[tuple[str, ...]]) -> list[str]:
    """Return the label of each image.

    Args:
        texts: the labels of each image.

    Raises:
        ValueError: if an image has several.
    """
    labels = list(texts)
    several = next((of_one for of_one in labels if len(of_one) > 1), None)
    if several is not None:
        raise ValueError(f"an image has the labels {', '.join(map(repr, several))}; give one per image")
    return [label for (label,) in labels]


def _holds_images(path: Path) -> bool:
    """Return True for a folder of plain image files, as opposed to a table, shards or a saved data set."""
    if not path.is_dir() or table_in(path) is not None:
        return False
    endings = (*SHARD_ENDINGS, *PARQUET_ENDINGS)
    return not any(file.name in _DATA_SET or file.name.lower().endswith(endings) for file in path.iterdir())


def _from_folder(folder: Path, label_of: dict[str, str]) -> FolderPairs:
    pairs: list[Pair] = []
    without: list[str] = []
    for image in find_images(str(folder)):
        inside = image.relative_to(folder)
        label = label_of.get(image.name, inside.parts[0] if len(inside.parts) > 1 else None)
        if label is None:
            without.append(str(inside))
        else:
            pairs.append(Pair(str(image), image, (label,)))
    if without:
        raise ValueError(
            f"{folder}: images outside any class folder: {_listed(without)}; move them into one, or pass labels=... "
            "with the label of each file name"
        )
    return FolderPairs(pairs)


def _known(label: str, given: LabelFile) -> str | None:
    """Return the name for a label of the data, or None if it is unknown."""
    if label in given.label_of:
        return given.label_of[label]
    for spelling in (label, _spaced(label)):
        if spelling in given.names:
            return spelling
    is_number = label.isascii() and label.isdigit() and not given.label_of and int(label) < len(given.names)
    return given.names[int(label)] if is_number else None


def _check_known(labels: Iterable[str], name_of: dict[str, str]) -> None:
    unknown = [repr(label) for label in dict.fromkeys(labels) if label not in name_of]
    if unknown:
        raise ValueError(f"labels=... lacks labels of the data: {_listed(unknown)}; add them")


def _spaced(label: str) -> str:
    return label.replace("_", " ")


def _listed(names: Sequence[str]) -> str:
    return f"{len(names)} ({', '.join(names[:_SHOWN])}{', ...' * (len(names) > _SHOWN)})"
