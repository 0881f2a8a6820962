"""Vectors in a memory-mapped file, and their similarities to a query."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

_ITEM = np.dtype("<f4")
_ROWS = 256  # scattered vectors to copy at a time; they stay in the processor's cache


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


def check_query(query: np.ndarray, vectors: np.ndarray) -> None:
    """Check that a query can be compared with vectors.

    Args:
        query: the query.
        vectors: `(count, dim)`.

    Raises:
        ValueError: if it has another shape than a vector, or is not finite.
    """
    if query.shape != vectors.shape[1:]:
        raise ValueError(f"query has the shape {query.shape}; expected {vectors.shape[1:]}, one embedding by the model")
    if not np.isfinite(query).all():
        raise ValueError("query is not finite; give an embedding by the model of the index")


def candidates(
    vectors: np.ndarray, query: np.ndarray, places: np.ndarray | None = None, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the places and similarities of the vectors to choose the nearest from.

    Args:
        vectors: `(count, dim)`, of unit norm.
        query: `(dim,)`, of unit norm.
        places: the vectors to compare, `(places,)`; None for all, or all that are allowed.
        allowed: True for the vectors to choose from, `(count,)`, bool; None for all.

    Returns:
        Places `(candidates,)` and cosines `(candidates,)`, float32.
    """
    if places is None:
        if allowed is None:
            return np.arange(len(vectors)), vectors @ query
        places = np.flatnonzero(allowed)
    elif allowed is not None:
        places = places[allowed[places]]
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
