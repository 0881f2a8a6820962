"""The facts that a store keeps of each image, and the operations of every store."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from clip_core.tasks.search.filters import Condition


class IndexedImage(NamedTuple):
    """The facts about an image that an index stores, beside its vector.

    Attributes:
        path: the absolute path, in the bytes of the file system.
        size: bytes of the file.
        changed: the file's modification time, in nanoseconds.
        taken: the date of the photograph, or of the file, as in "2024-06-30T12:00:00".
        file: a hash of the file.
        pixels: a hash of the upright RGB pixels.
        width: pixels.
        height: pixels.
        caption: the text beside the image, if any.
    """

    path: bytes
    size: int
    changed: int
    taken: str
    file: bytes
    pixels: bytes
    width: int
    height: int
    caption: str | None = None


class Found(NamedTuple):
    """A row that was found.

    Attributes:
        row: the row.
        vector: `(dim,)`, float32.
        score: the cosine to the query.
    """

    row: IndexedImage
    vector: np.ndarray
    score: float


class Store(Protocol):
    """Rows and vectors on a disk. `add` and `delete` are atomic, and permanent when they return."""

    def add(self, rows: Sequence[IndexedImage], vectors: np.ndarray) -> None:
        """Add rows; a row with the path of an earlier one replaces it.

        Args:
            rows: the rows.
            vectors: `(rows, dim)`, of unit norm.
        """
        ...

    def delete(self, paths: Sequence[bytes]) -> int:
        """Delete the rows of these paths; return the number of rows deleted.

        Args:
            paths: stored paths.
        """
        ...

    def search(
        self, query: np.ndarray, count: int, where: Sequence[Condition] = (), *, exact: bool = False
    ) -> list[Found]:
        """Return the rows most similar to a query, best first.

        Args:
            query: `(dim,)`, of unit norm.
            count: the number of rows.
            where: conditions that all rows have to meet.
            exact: compare all vectors, whatever their number.
        """
        ...

    def compact(self) -> None:
        """Reclaim the space of deleted rows, and prepare large stores for approximate search."""
        ...
