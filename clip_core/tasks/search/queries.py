"""Queries of an index, and their hits."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_core.tasks.search.rows import Found

_ROUNDING = 1e-5  # the length of a difference of equal embeddings that were encoded in different batches


class Hit(NamedTuple):
    """An image that a search found.

    Attributes:
        path: the file; for a remote image, its URL as a path (see `name_of`).
        score: its cosine to the query.
        probability: its share among the hits, by the model's softmax; None if not asked for.
        size: bytes of the file.
        taken: the date of the photograph, or of the file, as in "2024-06-30T12:00:00".
        width: pixels.
        height: pixels.
        caption: the text beside the image, if any.
        sha256: the hash of the file, in hexadecimal.
    """

    path: Path
    score: float
    probability: float | None
    size: int
    taken: str
    width: int
    height: int
    caption: str | None
    sha256: str


def query_of(added: Sequence[np.ndarray], subtracted: Sequence[np.ndarray]) -> np.ndarray:
    """Return the sum of embeddings minus others, scaled to unit norm: `(projection,)`, float32.

    Args:
        added: the embeddings to add, `(embeddings, projection)` each.
        subtracted: the embeddings to subtract, `(embeddings, projection)` each.

    Raises:
        ValueError: if they cancel out.
    """
    parts = [*(part.sum(axis=0) for part in added), *(-part.sum(axis=0) for part in subtracted)]
    query: np.ndarray = np.sum(parts, axis=0)
    length = float(np.linalg.norm(query))
    if length < _ROUNDING:
        raise ValueError("the queries cancel out; add and subtract different ones")
    return query / np.float32(length)


def name_of(path: Path) -> str:
    """Return the path of a hit as text, and that of a remote image as its URL: a Path drops a slash of "://".

    Args:
        path: the path; absolute unless the image is remote.
    """
    name = str(path)
    return name if path.is_absolute() else re.sub(r"^([\w+.-]+):/", r"\1://", name)


def hit_of(found: Found, share: float | None) -> Hit:
    """Return a row that was found as a hit.

    Args:
        found: the row.
        share: its probability among the hits; None if not asked for.
    """
    row = found.row
    path = Path(os.fsdecode(row.path))
    return Hit(path, found.score, share, row.size, row.taken, row.width, row.height, row.caption, row.file.hex())
