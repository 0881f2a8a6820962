"""The facts that a store keeps of each image, and the operations of every store."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from clip_core.hub.printing import printable
from clip_core.tasks.search.identity import MODEL_FACTS, check_types_of_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import numpy as np

    from clip_core.tasks.search.filters import Condition

AGAIN = "delete the folder and index again"
FIRST_VECTORS = "vectors-0.f32"  # the name of the first file of vectors
_VECTORS = re.compile(r"vectors-[0-9]{1,18}\.f32")
_TYPES = {"dim": int, "end": int, "vectors": str, **MODEL_FACTS}  # of facts


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


def parsed_facts(found: Iterable[tuple[str, str]], path: Path) -> dict[str, Any]:
    """Return the facts about a store and its model, checked; no name of a file may lead out of its folder.

    Args:
        found: their names, and their values as JSON.
        path: the database, for messages.

    Raises:
        ValueError: if the database is damaged.
    """
    try:
        facts = {name: json.loads(value) for name, value in found}
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({printable(error)}); {AGAIN}") from error
    check_types_of_facts(facts, {name: _TYPES[name] for name in facts.keys() & _TYPES.keys()}, str(path), AGAIN)
    if (
        facts.get("dim", 1) < 1
        or facts.get("end", 0) < 0
        or not _VECTORS.fullmatch(facts.get("vectors", FIRST_VECTORS))
    ):
        raise ValueError(f"{path} is damaged (it names no vectors of its own); {AGAIN}")
    return facts
