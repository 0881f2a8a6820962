"""Groups of equal and similar images in an index."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from clip_core.tasks.search.rows import IndexedImage

THRESHOLD = 0.97  # of CLIP's cosine: resized and recompressed copies lie above it, other photographs of a scene below
_BLOCK = 2048  # images that are compared with the others at a time

Kind = Literal["file", "pixels", "similar"]


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that are duplicates of each other.

    Attributes:
        kind: "file" for identical files; "pixels" for different files with identical pixels; "similar" for different
            pixels with embeddings above the threshold.
        images: the paths, sorted. Of files in a group of an earlier kind, only the first is also in a later one.
        similarity: the lowest cosine between neighbours in the group; 1 for identical ones.
    """

    kind: Kind
    images: list[Path]
    similarity: float = 1.0


def find_duplicates(
    rows: Sequence[IndexedImage],
    places: np.ndarray,
    vectors: np.ndarray,
    threshold: float,
    on_progress: Callable[[int], object] | None = None,
) -> list[DuplicateGroup]:
    """Group identical files, identical pixels and similar images. The time grows with the square of their number.

    Args:
        rows: the rows of the index, sorted by path.
        places: the place of each row's vector, `(rows,)`.
        vectors: `(places, dim)`, of unit norm.
        threshold: the lowest cosine of similar images.
        on_progress: called with the number of images that were compared with all others.

    Returns:
        The groups: identical files first, then identical pixels, then similar images.
    """
    everyone = range(len(rows))
    files, distinct = _same(everyone, [row.file for row in rows])
    pixels, distinct = _same(distinct, [row.pixels for row in rows])
    groups = [DuplicateGroup("file", _paths(rows, group)) for group in files]
    groups += [DuplicateGroup("pixels", _paths(rows, group)) for group in pixels]
    similar = _similar(vectors, places[distinct], threshold, on_progress)
    groups += [
        DuplicateGroup("similar", _paths(rows, [distinct[member] for member in members]), similarity)
        for members, similarity in similar
    ]
    return groups


def _same(members: Sequence[int], keys: Sequence[Hashable]) -> tuple[list[list[int]], list[int]]:
    """Return the groups of members with equal keys, and the first member of every key."""
    by_key: dict[Hashable, list[int]] = {}
    for member in members:
        by_key.setdefault(keys[member], []).append(member)
    return [group for group in by_key.values() if len(group) > 1], [group[0] for group in by_key.values()]


def _similar(
    vectors: np.ndarray, places: np.ndarray, threshold: float, on_progress: Callable[[int], object] | None
) -> list[tuple[list[int], float]]:
    """Return the connected components above the threshold, each with its lowest similarity above it.

    Pairs are not kept: of 20,000 frames of one scene they would take more memory than most machines have.
    """
    parents = np.arange(len(places))  # of each image, an earlier one in its component, or itself
    lowest = np.ones(len(places), np.float32)  # similarity of each image to another, above the threshold
    for start in range(0, len(places), _BLOCK):
        block = vectors[places[start : start + _BLOCK]]
        for other in range(start, len(places), _BLOCK):
            scores = block @ vectors[places[other : other + _BLOCK]].T
            are_similar = scores >= threshold
            if other == start:  # each pair once, and no image with itself
                are_similar = np.triu(are_similar, 1)
            lefts = np.flatnonzero(are_similar.any(axis=1))
            for left in lefts:
                rights = np.flatnonzero(are_similar[left])
                _join(parents, np.append(other + rights, start + left))
                lowest[start + left] = min(lowest[start + left], scores[left, rights].min())
        if on_progress is not None:
            on_progress(len(block))
    members: dict[int, list[int]] = {}
    for member, root in enumerate(_roots(parents, np.arange(len(places)))):
        members.setdefault(int(root), []).append(member)
    return [(group, float(lowest[group].min())) for group in members.values() if len(group) > 1]


def _join(parents: np.ndarray, members: np.ndarray) -> None:
    """Join the components of some members."""
    roots = _roots(parents, members)
    parents[roots] = parents[members] = roots.min()


def _roots(parents: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Return the representative of each member's component, its earliest one."""
    while not np.array_equal(above := parents[members], members):
        members = above
    return members


def _paths(rows: Sequence[IndexedImage], group: Sequence[int]) -> list[Path]:
    return sorted(Path(os.fsdecode(rows[member].path)) for member in group)
