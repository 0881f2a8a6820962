"""Ranking metrics: recall at k (equal to top-k accuracy), mean reciprocal rank, and chance level.

Rank 1 means that a correct answer comes first. Ties count against the model: a wrong answer that scores as high as the
best correct one ranks before it, so a model that scores everything equally comes last, not first. With several correct
answers, the best one counts and the others do not compete with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clip_core.configuration.arguments import check_integers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike


_CELLS = 1 << 24  # 64 MB in float32


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Yield consecutive slices of the rows, each covering at most 2**24 cells, or a single row.

    Args:
        rows: number of rows.
        columns: number of cells in a row.
    """
    size = max(1, _CELLS // max(columns, 1))
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def ranks(similarities: np.ndarray, targets: ArrayLike) -> np.ndarray:
    """Return the rank of each query's best correct answer: `(queries,)`, int64, from 1.

    Args:
        similarities: `(queries, candidates)`; higher means more likely. NaN ranks worst for a correct answer and best
            for a wrong one.
        targets: `(queries,)`, the index of the correct candidate; or `(queries, candidates)`, bool, if there are
            several.

    Raises:
        ValueError: if the shapes do not match, or a query has no correct answer.

    Example:
        >>> ranks(np.array([[0.9, 0.1], [0.8, 0.2]]), [0, 1]).tolist()
        [1, 2]
    """
    is_right = right_answers(targets, similarities.shape)
    best = np.where(is_right, np.where(np.isnan(similarities), -np.inf, similarities), -np.inf).max(-1, keepdims=True)
    # "Not lower" rather than "higher or equal": both comparisons are false for NaN.
    stands_before = ~is_right & ~(similarities < best)
    placed: np.ndarray = 1 + stands_before.sum(-1)
    return placed


def right_answers(targets: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """Return a `(queries, candidates)` bool mask of the correct candidates, from either form of targets.

    Args:
        targets: as in `ranks`.
        shape: `(queries, candidates)`.

    Raises:
        ValueError: if the targets do not match the shape, or a query has no correct answer.
    """
    given = np.asarray(targets)
    if len(shape) != 2 or given.shape not in {shape, shape[:1]}:
        raise ValueError(f"targets of shape {given.shape} do not match similarities of shape {shape}")
    if given.ndim == 2:
        if given.dtype != np.bool_:
            raise ValueError(f"targets of two axes must be bool, not {given.dtype}")
        is_right = given
    else:
        if given.size and not (np.issubdtype(given.dtype, np.integer) and 0 <= given.min() <= given.max() < shape[1]):
            raise ValueError(
                f"targets must be integers from 0 to below {shape[1]}, the number of candidates; "
                f"these are {given.dtype} from {given.min()} to {given.max()}"
            )
        is_right = given[:, None] == np.arange(shape[1])
    without = np.flatnonzero(~is_right.any(-1))
    if without.size:
        raise ValueError(f"query {without[0]} has no correct answer; each query needs one")
    return is_right


def recall_at(ranks: np.ndarray, k: int) -> float:
    """Return the fraction of queries with a correct answer among the first k.

    Args:
        ranks: `(queries,)`, as returned by `ranks`.
        k: 1 or more.

    Raises:
        ValueError: if there are no queries, or k is below 1.
    """
    check_integers(k=(k, 1))
    return float((_some(ranks) <= k).mean())


def mean_reciprocal_rank(ranks: np.ndarray) -> float:
    """Return the mean of 1 / rank over the queries.

    Args:
        ranks: `(queries,)`, as returned by `ranks`.

    Raises:
        ValueError: if there are no queries.
    """
    return float((1.0 / _some(ranks)).mean())


def median_rank(ranks: np.ndarray) -> float:
    """Return the median rank over the queries.

    Args:
        ranks: `(queries,)`, as returned by `ranks`.

    Raises:
        ValueError: if there are no queries.
    """
    return float(np.median(_some(ranks)))


def chance_at(k: int, right: ArrayLike, candidates: int) -> float:
    """Return the expected recall at k of random scores.

    Args:
        k: 1 or more.
        right: `(queries,)`, the number of correct candidates per query.
        candidates: number of candidates.
    """
    check_integers(k=(k, 1), candidates=(candidates, 1))
    of_query = np.atleast_1d(np.asarray(right, np.float64))
    missed = np.ones_like(of_query)
    for drawn in range(min(k, candidates)):  # without replacement
        missed *= np.maximum(candidates - drawn - of_query, 0) / (candidates - drawn)
    return float(1 - missed.mean())


def _some(ranks: np.ndarray) -> np.ndarray:
    if not np.size(ranks):
        raise ValueError("there are no queries; give at least one")
    return np.asarray(ranks)
