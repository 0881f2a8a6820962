"""Retrieval: matching texts for an image among all texts, and matching images for a text among all images.

Duplicates count once: images with equal pixels are one image with all of their captions, and texts with equal tokens
are one text. A caption that five images share is therefore correct for each of them, and all five captions of an image
are correct.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from clip_core.data import Pair, open_pairs
from clip_core.data.folder import FolderPairs
from clip_core.evaluation.images import embed_images
from clip_core.evaluation.metrics import chance_at, mean_reciprocal_rank, median_rank, ranks, recall_at, row_blocks
from clip_core.evaluation.texts import embed_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clip_core.data.pairs import Broken, Pairs
    from clip_core.evaluation.images import EmbeddedImages
    from clip_core.tasks.zero_shot import ZeroShotClassifier

AT = (1, 5, 10)


@dataclass(frozen=True)
class Direction:
    """The result for one direction.

    Attributes:
        queries: number of queries.
        candidates: number of candidates each is compared with.
        recall: by k, the fraction of queries with a correct candidate among the first k.
        chance: the same for candidates in random order.
        mean_reciprocal_rank: of the first correct candidate.
        median_rank: of the first correct candidate.
    """

    queries: int
    candidates: int
    recall: dict[int, float]
    chance: dict[int, float]
    mean_reciprocal_rank: float
    median_rank: float


@dataclass(frozen=True)
class RetrievalReport:
    """The result of an evaluation.

    Attributes:
        pairs: number of distinct matching pairs of image and text.
        pictures: number of distinct images.
        texts: number of distinct texts.
        image_to_text: images as queries.
        text_to_image: texts as queries.
        truncated: number of texts truncated to the model's length.
        broken: the samples left out.
    """

    pairs: int
    pictures: int
    texts: int
    image_to_text: Direction
    text_to_image: Direction
    truncated: int
    broken: list[Broken]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as for JSON."""
        return asdict(self)


class Matches(NamedTuple):
    """Matching images and texts.

    Attributes:
        pictures: `(pairs,)`, rows of the image embeddings.
        texts: `(pairs,)`, rows of the text embeddings.
    """

    pictures: np.ndarray
    texts: np.ndarray


def evaluate(
    classifier: ZeroShotClassifier,
    source: Any,
    *,
    max_length: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    tell: Callable[[int], object] | None = None,
) -> RetrievalReport:
    """Evaluate a model on captioned images.

    Args:
        classifier: the model and its processor.
        source: anything that `clip_core.data.open_pairs` accepts or returns, such as a folder; or rows in memory, such
            as `[{"image": image, "text": "a cat"}]`. A row's text may be a list of correct texts.
        max_length: the model's `max_position_embeddings`; by default the tokenizer's own limit.
        batch_size: images and texts to encode at a time.
        workers: processes that decode images; 0 to use this process only.
        tell: progress callback, called with the number of samples done since the last call.

    Raises:
        ValueError: if the data cannot be read, or no sample of it can be used.

    Example:
        >>> report = evaluate(classifier, "pictures/")  # doctest: +SKIP
        >>> report.image_to_text.recall[1]  # doctest: +SKIP
        0.58
    """
    pairs = by_file(open_pairs(source))
    images = embed_images(classifier, pairs, batch_size=batch_size, workers=workers, tell=tell)
    image_embeds, rows = _distinct(images)
    captions = [caption for texts in images.texts for caption in texts]
    texts = embed_texts(classifier, captions, max_length=max_length, batch_size=batch_size)
    of_image = np.repeat(rows, [len(of_one) for of_one in images.texts])
    there, back = from_embeddings(image_embeds, texts.embeds, Matches(of_image, texts.places))
    return RetrievalReport(
        pairs=np.unique(np.stack([of_image, texts.places]), axis=1).shape[1],
        pictures=len(image_embeds),
        texts=len(texts.embeds),
        image_to_text=there,
        text_to_image=back,
        truncated=texts.truncated,
        broken=images.broken,
    )


def from_embeddings(
    image_embeds: np.ndarray, text_embeds: np.ndarray, matches: Matches | tuple[Sequence[int], Sequence[int]]
) -> tuple[Direction, Direction]:
    """Evaluate both directions from embeddings.

    Args:
        image_embeds: `(images, projection)` of unit norm.
        text_embeds: `(texts, projection)` of unit norm.
        matches: the matching pairs; every image and every text has at least one.

    Returns:
        Image to text, and text to image.

    Raises:
        ValueError: if an image or a text has no match.
    """
    images, texts = (np.asarray(side, np.int64) for side in matches)
    return _direction(image_embeds, text_embeds, images, texts), _direction(text_embeds, image_embeds, texts, images)


def by_file(pairs: Pairs) -> Pairs:
    """Merge the rows of a table that name the same image file, keeping all captions.

    Args:
        pairs: pairs from any source; only folders and tables are changed.
    """
    if not isinstance(pairs, FolderPairs):
        return pairs
    firsts: dict[Any, Pair] = {}
    captions: dict[Any, list[str]] = {}
    others: list[Pair | Broken] = []
    for pair in (pairs[number] for number in range(len(pairs))):
        if isinstance(pair, Pair) and isinstance(pair.captions, tuple):
            firsts.setdefault(pair.image, pair)
            captions.setdefault(pair.image, []).extend(pair.captions)
        else:
            others.append(pair)
    return FolderPairs([*(replace(pair, captions=tuple(captions[file])) for file, pair in firsts.items()), *others])


def _direction(queries: np.ndarray, candidates: np.ndarray, of_query: np.ndarray, right: np.ndarray) -> Direction:
    """Evaluate one direction; `of_query` and `right` are `(pairs,)`, rows of the two sides."""
    order = np.argsort(of_query, kind="stable")
    of_query, right = of_query[order], right[order]
    found = np.empty(len(queries), np.int64)
    counts = np.empty(len(queries), np.int64)
    for rows in row_blocks(len(queries), len(candidates)):
        first, last = np.searchsorted(of_query, [rows.start, rows.stop])
        is_right = np.zeros((rows.stop - rows.start, len(candidates)), np.bool_)
        is_right[of_query[first:last] - rows.start, right[first:last]] = True
        found[rows] = ranks(queries[rows] @ candidates.T, is_right)
        counts[rows] = is_right.sum(-1)
    return Direction(
        queries=len(queries),
        candidates=len(candidates),
        recall={k: recall_at(found, k) for k in AT},
        chance={k: chance_at(k, counts, len(candidates)) for k in AT},
        mean_reciprocal_rank=mean_reciprocal_rank(found),
        median_rank=median_rank(found),
    )


def _distinct(images: EmbeddedImages) -> tuple[np.ndarray, np.ndarray]:
    """Return the embeddings of distinct images, and the index of each image among them: `(images,)`."""
    kinds: dict[bytes, int] = {}
    rows = np.array([kinds.setdefault(fingerprint, len(kinds)) for fingerprint in images.fingerprints])
    _, firsts = np.unique(rows, return_index=True)
    return images.embeds[firsts], rows
