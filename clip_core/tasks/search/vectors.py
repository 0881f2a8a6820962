"""Nearest vectors in a memory-mapped file: exactly, or through inverted lists.

The inverted lists are those of an IVF index: the vectors lie sorted by their nearest centroid, and a search reads only
the lists whose centroids are most similar to the query. Vectors that were added since the lists were made lie behind
them, and every search reads those.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ITEM = np.dtype("<f4")
_BLOCK = 65536  # vectors in memory at a time
_ITERATIONS = 8  # of k-means; recall gains little from more
_SAMPLES = 64  # vectors for each centroid that k-means sees
PROBES = 32  # lists to read; see docs/search.md for the recall
_ROWS = 256  # scattered vectors to copy at a time; they stay in the processor's cache


@dataclass(frozen=True)
class Lists:
    """Inverted lists over the first vectors of a file.

    Attributes:
        centroids: `(lists, dim)`, float32, of unit norm.
        starts: `(lists + 1,)`, the first vector of each list, and the end of the last.
    """

    centroids: np.ndarray
    starts: np.ndarray

    def nearest(self, query: np.ndarray, probes: int) -> Iterator[tuple[int, int]]:
        """Yield the first and last vector (exclusive) of the lists most similar to a query.

        Args:
            query: `(dim,)`.
            probes: the number of lists.
        """
        for place in largest(_products(self.centroids, query), probes):
            yield int(self.starts[place]), int(self.starts[place + 1])

    def save(self, path: Path) -> None:
        """Write the lists.

        Args:
            path: the file, which ends in .npz.
        """
        np.savez(path, centroids=self.centroids, starts=self.starts)

    @classmethod
    def load(cls, path: Path) -> Lists:
        """Read lists.

        Args:
            path: the file.
        """
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            return cls(content["centroids"], content["starts"])


def open_vectors(path: Path, count: int, dim: int) -> np.ndarray:
    """Map a file of vectors into memory, read-only: `(count, dim)`, float32.

    Args:
        path: the file.
        count: the number of vectors to map; the file may hold more, of an interrupted write.
        dim: the width of a vector.

    Raises:
        ValueError: if the file is too short.
    """
    if count == 0:
        return np.empty((0, dim), _ITEM)
    size, needed = path.stat().st_size, count * dim * _ITEM.itemsize
    if size < needed:
        raise ValueError(f"{path} is truncated: it has {size} bytes, and {needed} are needed; index the folders again")
    return np.memmap(path, _ITEM, "r", shape=(count, dim))


def write_vectors(path: Path, start: int, vectors: np.ndarray) -> None:
    """Write vectors into a file, and wait until they are on the disk.

    Args:
        path: the file, created if missing.
        start: the place of the first vector.
        vectors: `(vectors, dim)`.
    """
    path.touch()
    with path.open("rb+") as file:
        file.seek(start * vectors.shape[1] * _ITEM.itemsize)
        file.write(np.ascontiguousarray(vectors, _ITEM).data)
        file.flush()
        os.fsync(file.fileno())


def candidates(
    vectors: np.ndarray, query: np.ndarray, lists: Lists | None, probes: int, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the places and similarities of the vectors to choose the nearest from.

    Args:
        vectors: `(count, dim)`, of unit norm.
        query: `(dim,)`, of unit norm.
        lists: inverted lists; None compares all vectors.
        probes: the number of lists to read; more if not all vectors are allowed.
        allowed: True for the vectors to choose from, `(count,)`, bool; None for all.

    Returns:
        Places `(candidates,)` and cosines `(candidates,)`, float32.
    """
    if lists is None:
        if allowed is None:
            return np.arange(len(vectors)), vectors @ query
        return _among(np.flatnonzero(allowed), vectors, query)
    share = 1.0 if allowed is None else max(float(allowed.mean()), 1 / len(allowed))
    ranges = [*lists.nearest(query, int(probes / share)), (int(lists.starts[-1]), len(vectors))]
    if allowed is None:
        places = np.concatenate([np.arange(start, stop) for start, stop in ranges])
        return places, np.concatenate([_products(vectors[start:stop], query) for start, stop in ranges])
    places = np.concatenate([start + np.flatnonzero(allowed[start:stop]) for start, stop in ranges])
    return _among(places, vectors, query)


def _among(places: np.ndarray, vectors: np.ndarray, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return some places, and the similarities of their vectors."""
    blocks = [_products(vectors[places[start : start + _ROWS]], query) for start in range(0, len(places), _ROWS)]
    return places, np.concatenate(blocks) if blocks else np.empty(0, np.float32)


def _products(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Return the products of some vectors with a query, `(vectors,)`, computed by one thread.

    For a few vectors, the threads of BLAS gain little on free processors, and wait for each other on busy ones.
    """
    products: np.ndarray = np.einsum("ij,j->i", vectors, query)
    return products


def largest(values: np.ndarray, count: int) -> np.ndarray:
    """Return the places of the largest values, largest first; of equal values the earlier first.

    Args:
        values: `(values,)`.
        count: the number of places; all if there are fewer.
    """
    places = np.arange(len(values))
    if count < len(values):
        places = np.sort(np.argpartition(-values, count - 1)[:count])
    found: np.ndarray = places[np.argsort(-values[places], kind="stable")]
    return found


def make_lists(vectors: np.ndarray, seed: int = 0) -> tuple[Lists, np.ndarray]:
    """Cluster vectors by spherical k-means into inverted lists.

    Args:
        vectors: `(count, dim)`, of unit norm.
        seed: seed of the first centroids.

    Returns:
        The lists, and the order in which the vectors have to lie, `(count,)`.
    """
    number = max(1, int(2 * len(vectors) ** 0.5))
    random = np.random.default_rng(seed)
    chosen = random.choice(len(vectors), min(len(vectors), number * _SAMPLES), replace=False)
    sample = vectors[np.sort(chosen)]
    centroids = sample[np.sort(random.choice(len(sample), number, replace=False))]
    for _ in range(_ITERATIONS):
        centroids = _means(sample, _assigned(sample, centroids), centroids)
    assigned = _assigned(vectors, centroids)
    starts = np.concatenate([[0], np.cumsum(np.bincount(assigned, minlength=number))])
    return Lists(centroids, starts), np.argsort(assigned, kind="stable")


def _assigned(vectors: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Return the centroid most similar to each vector, `(count,)`."""
    blocks = range(0, len(vectors), _BLOCK // 8)  # bounds the similarities in memory
    return np.concatenate([(vectors[start : start + _BLOCK // 8] @ centroids.T).argmax(axis=1) for start in blocks])


def _means(vectors: np.ndarray, assigned: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return the mean direction of each centroid's vectors; a centroid without vectors stays."""
    order = np.argsort(assigned, kind="stable")
    present, firsts = np.unique(assigned[order], return_index=True)
    sums = np.add.reduceat(vectors[order], firsts, axis=0)
    means = before.copy()
    means[present] = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return means
