"""Retrieval: the texts that belong to a picture among all texts, and the pictures that belong to a text among all.

One thing is counted once: pictures of the same pixels are one picture with the captions of all of them, and texts of
the same tokens are one text. So a caption that stands beside five pictures is right for each of them, and five captions
of one picture are all right.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from clip_core.data import Pair, open_pairs
from clip_core.data.folder import FolderPairs
from clip_core.evaluation.metrics import chance_at, mean_reciprocal_rank, median_rank, ranks, recall_at, row_blocks
from clip_core.evaluation.pictures import embed_pictures
from clip_core.evaluation.texts import embed_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clip_core.data.pairs import Broken, Pairs
    from clip_core.evaluation.pictures import Pictures
    from clip_core.tasks.zero_shot import ZeroShotClassifier

AT = (1, 5, 10)


@dataclass(frozen=True)
class Direction:
    """How well one kind finds the other.

    Attributes:
        queries: how many there are.
        candidates: how many each is compared with.
        recall: by k, the share of queries that have a right candidate among the first k.
        chance: the same for candidates in random order.
        mean_reciprocal_rank: of the first right candidate.
        median_rank: likewise.
    """

    queries: int
    candidates: int
    recall: dict[int, float]
    chance: dict[int, float]
    mean_reciprocal_rank: float
    median_rank: float


@dataclass(frozen=True)
class RetrievalReport:
    """What was found.

    Attributes:
        pairs: of a picture and a text that belong together, each once.
        pictures: distinct ones.
        texts: distinct ones.
        image_to_text: pictures as queries.
        text_to_image: texts as queries.
        truncated: how many texts were cut to the length that the model takes.
        broken: samples that were left out.
    """

    pairs: int
    pictures: int
    texts: int
    image_to_text: Direction
    text_to_image: Direction
    truncated: int
    broken: list[Broken]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as for JSON."""
        return asdict(self)


class Matches(NamedTuple):
    """Which picture and which text belong together.

    Attributes:
        pictures: `(pairs,)`, rows of the pictures' embeddings.
        texts: `(pairs,)`, rows of the texts' embeddings.
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
    """Evaluate a model on pictures with captions.

    Args:
        classifier: the model and its processor.
        source: what `clip_core.data.open_pairs` takes or returned, such as a folder; or rows in memory, such as
            `[{"image": picture, "text": "a cat"}]`. A row's text may be a list, of which each is right.
        max_length: tokens that the model takes, its `max_position_embeddings`; by default what the tokenizer states.
        batch_size: pictures and texts that are encoded at a time.
        workers: processes that decode pictures; 0 for none but this one.
        tell: is called with the number of samples that were done since it was called last.

    Raises:
        ValueError: the data cannot be read, or no sample of it can be used.

    Example:
        >>> report = evaluate(classifier, "pictures/")  # doctest: +SKIP
        >>> report.image_to_text.recall[1]  # doctest: +SKIP
        0.58
    """
    pairs = by_file(open_pairs(source))
    pictures = embed_pictures(classifier, pairs, batch_size=batch_size, workers=workers, tell=tell)
    image_embeds, rows = _distinct(pictures)
    captions = [caption for texts in pictures.texts for caption in texts]
    texts = embed_texts(classifier, captions, max_length=max_length, batch_size=batch_size)
    of_picture = np.repeat(rows, [len(of_one) for of_one in pictures.texts])
    there, back = from_embeddings(image_embeds, texts.embeds, Matches(of_picture, texts.places))
    return RetrievalReport(
        pairs=np.unique(np.stack([of_picture, texts.places]), axis=1).shape[1],
        pictures=len(image_embeds),
        texts=len(texts.embeds),
        image_to_text=there,
        text_to_image=back,
        truncated=texts.truncated,
        broken=pictures.broken,
    )


def from_embeddings(
    image_embeds: np.ndarray, text_embeds: np.ndarray, matches: Matches | tuple[Sequence[int], Sequence[int]]
) -> tuple[Direction, Direction]:
    """Both directions, image to text and text to image, from embeddings.

    Args:
        image_embeds: `(pictures, projection)` of unit norm.
        text_embeds: `(texts, projection)` of unit norm.
        matches: which belong together; every picture and every text has a match.

    Raises:
        ValueError: a picture or a text has none.
    """
    images, texts = (np.asarray(side, np.int64) for side in matches)
    return _direction(image_embeds, text_embeds, images, texts), _direction(text_embeds, image_embeds, texts, images)


def by_file(pairs: Pairs) -> Pairs:
    """The pairs of a table with each picture's file once, which the table names once for each of its captions."""
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
    """One direction; `of_query` and `right` are `(pairs,)`, rows of the two sides."""
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


def _distinct(pictures: Pictures) -> tuple[np.ndarray, np.ndarray]:
    """The embeddings of distinct pictures, and which of them each picture is: `(pictures,)`."""
    kinds: dict[bytes, int] = {}
    rows = np.array([kinds.setdefault(fingerprint, len(kinds)) for fingerprint in pictures.fingerprints])
    _, firsts = np.unique(rows, return_index=True)
    return pictures.embeds[firsts], rows
