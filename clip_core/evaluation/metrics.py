"""Ranks, and what is counted from them: recall at k (top-k accuracy is the same), mean reciprocal rank, chance.

A rank is 1 where a right answer comes first. Ties go against the model: a wrong answer that scores as high as the best
right one stands before it, so that a model that gives everything the same score gets the last place and not the first.
Where several answers are right, the best of them counts, and the others do not stand in its way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike


_CELLS = 1 << 24  # 64 MB in float32


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Slices of the rows, one after another, each of a block with at most 2**24 cells, or of one row."""
    size = max(1, _CELLS // max(columns, 1))
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def ranks(similarities: np.ndarray, targets: ArrayLike) -> np.ndarray:
    """The rank of the best right answer of each query: `(queries,)`, int64, from 1.

    Args:
        similarities: `(queries, candidates)`; the higher, the likelier. A number that is none (NaN) counts as worst
            among right answers and as best among wrong ones.
        targets: `(queries,)`, the number of the right candidate; or `(queries, candidates)` of bool, where several are.

    Raises:
        ValueError: the shapes do not fit, or a query has no right answer.

    Example:
        >>> ranks(np.array([[0.9, 0.1], [0.8, 0.2]]), [0, 1]).tolist()
        [1, 2]
    """
    is_right = right_answers(targets, similarities.shape)
    best = np.where(is_right, np.where(np.isnan(similarities), -np.inf, similarities), -np.inf).max(-1, keepdims=True)
    # "Not lower" and no "higher or equal", of which NaN is neither.
    stands_before = ~is_right & ~(similarities < best)
    placed: np.ndarray = 1 + stands_before.sum(-1)
    return placed


def right_answers(targets: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """Which candidates are right, `(queries, candidates)` of bool, from either form of the targets of `ranks`.

    Raises:
        ValueError: the targets do not fit the shape, or a query has no right answer.
    """
    given = np.asarray(targets)
    if len(shape) != 2 or given.shape not in {shape, shape[:1]}:
        raise ValueError(f"targets of shape {given.shape} do not fit similarities of shape {shape}")
    if given.ndim == 2:
        if given.dtype != np.bool_:
            raise ValueError(f"targets for every candidate are of bool, and not of {given.dtype}")
        is_right = given
    else:
        if given.size and not (np.issubdtype(given.dtype, np.integer) and 0 <= given.min() <= given.max() < shape[1]):
            raise ValueError(f"targets are whole numbers from 0 to below {shape[1]}, the number of candidates")
        is_right = given[:, None] == np.arange(shape[1])
    without = np.flatnonzero(~is_right.any(-1))
    if without.size:
        raise ValueError(f"query {without[0]} has no right answer; each needs one")
    return is_right


def recall_at(ranks: np.ndarray, k: int) -> float:
    """The share of queries whose right answer is among the first k.

    Raises:
        ValueError: there are no queries, or k is below 1.
    """
    if k < 1:
        raise ValueError(f"k={k}; give 1 or more")
    return float((_some(ranks) <= k).mean())


def mean_reciprocal_rank(ranks: np.ndarray) -> float:
    """The mean over the queries of 1 / rank.

    Raises:
        ValueError: there are no queries.
    """
    return float((1.0 / _some(ranks)).mean())


def median_rank(ranks: np.ndarray) -> float:
    """The median over the queries.

    Raises:
        ValueError: there are no queries.
    """
    return float(np.median(_some(ranks)))


def chance_at(k: int, right: ArrayLike, candidates: int) -> float:
    """The recall at k that scores drawn at random reach.

    Args:
        k: from 1 up.
        right: `(queries,)`, how many candidates are right for each query.
        candidates: how many there are.
    """
    of_query = np.atleast_1d(np.asarray(right, np.float64))
    missed = np.ones_like(of_query)
    for drawn in range(min(k, candidates)):  # without replacement
        missed *= np.maximum(candidates - drawn - of_query, 0) / (candidates - drawn)
    return float(1 - missed.mean())


def _some(ranks: np.ndarray) -> np.ndarray:
    if not np.size(ranks):
        raise ValueError("there are no queries to take the mean over")
    return np.asarray(ranks)
