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
    """Return the connected components above the threshold, each with its lowest similarity above it."""
    parents = list(range(len(places)))
    links: list[tuple[int, float]] = []
    for start in range(0, len(places), _BLOCK):
        block = vectors[places[start : start + _BLOCK]]
        for other in range(start, len(places), _BLOCK):
            scores = block @ vectors[places[other : other + _BLOCK]].T
            for first, second in np.argwhere(scores >= threshold):
                left, right = start + int(first), other + int(second)
                if left < right:
                    links.append((left, float(scores[first, second])))
                    parents[_root(parents, left)] = _root(parents, right)
        if on_progress is not None:
            on_progress(len(block))
    lowest: dict[int, float] = {}
    for member, score in links:
        root = _root(parents, member)
        lowest[root] = min(lowest.get(root, 1.0), score)
    members: dict[int, list[int]] = {root: [] for root in lowest}
    for member in range(len(places)):
        if (root := _root(parents, member)) in members:
            members[root].append(member)
    return [(group, lowest[root]) for root, group in members.items()]


def _root(parents: list[int], member: int) -> int:
    """Return the representative of a member's component, and shorten the way to it."""
    while parents[member] != member:
        parents[member] = parents[parents[member]]
        member = parents[member]
    return member


def _paths(rows: Sequence[IndexedImage], group: Sequence[int]) -> list[Path]:
    return sorted(Path(os.fsdecode(rows[member].path)) for member in group)
