"""Reading a dataset of embeddings."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.data.parquet import open_parquet
from clip_core.hub.printing import printable
from clip_core.tasks.embedding.manifest import read_manifest
from clip_core.tasks.embedding.parts import EMBEDDINGS, RESERVED, part_schema
from clip_core.tasks.embedding.places import Location, arrow
from clip_core.tasks.search.reading import caption_of
from clip_core.tasks.search.rows import IndexedImage

if TYPE_CHECKING:
    from collections.abc import Iterator

_CAPTIONS = ("caption", "text", "txt")  # columns of captions, in order of preference
_ROWS = 1024
_NORM_TOLERANCE = 1e-2  # allows for rounding in half precision


class EmbeddedDataset:
    """A dataset that `embed` wrote.

    Args:
        folder: its folder, or its URL.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if its manifest is damaged.
        ImportError: if pyarrow is not installed.

    Attributes:
        facts: its manifest: the model, the source, the preprocessing and the versions.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        arrow()
        self._place = Location.open(folder)
        facts = read_manifest(self._place)
        if facts is None:
            raise FileNotFoundError(f"{folder} is not a dataset of embeddings; make one with `clip-zoo embed`")
        self.facts: dict[str, Any] = facts

    def __len__(self) -> int:
        return sum(self._count(name) for name in self._names())

    def batches(self) -> Iterator[tuple[list[IndexedImage], np.ndarray]]:
        """Yield the images of all parts in batches.

        Captions come from the source's column "caption", "text" or "txt".

        Yields:
            The facts about the images, and their embeddings `(images, dim)`, float32, of unit norm.

        Raises:
            ValueError: if a part is damaged; the message names it.
        """
        for name in self._names():
            yield from self._read(name)

    def _names(self) -> list[str]:
        return [f"{EMBEDDINGS}/{name}" for name in self._place.names(EMBEDDINGS) if name.endswith(".parquet")]

    def _count(self, name: str) -> int:
        with self._opened(name) as part:
            return int(part.metadata.num_rows)

    def _read(self, name: str) -> Iterator[tuple[list[IndexedImage], np.ndarray]]:
        with self._opened(name) as part:
            captions = [name for name in _CAPTIONS if name in part.schema_arrow.names][:1]
            for batch in part.iter_batches(_ROWS, columns=[*RESERVED, *captions]):
                yield _rows_of(batch, captions, self.facts["dim"])

    @contextmanager
    def _opened(self, name: str) -> Iterator[Any]:
        """Open a part; errors of reading it name the file, and say what to do."""
        try:
            with self._place.reading(self._place.path(name)) as file:
                yield open_parquet(file)
        except (OSError, ValueError, KeyError, OverflowError, arrow().ArrowException) as error:
            where = self._place.shown(self._place.path(name))
            told = printable(error.args[0] if isinstance(error, KeyError) else error)
            raise ValueError(f"{where} is damaged ({told}); delete it, and run `clip-zoo embed` again") from error


def _rows_of(batch: Any, captions: list[str], dim: int) -> tuple[list[IndexedImage], np.ndarray]:
    """Return the images in a batch, and their embeddings.

    Raises:
        ValueError: if a column does not hold what `embed` writes, or an embedding is not of unit norm.
    """
    pa = arrow()
    column = {}
    for field in part_schema(pa.schema([]), dim, "float32"):
        column[field.name] = batch.column(field.name).cast(field.type)
        if column[field.name].null_count and not field.nullable:
            raise ValueError(f"column {field.name!r} lacks a value")
    texts = batch.column(captions[0]).to_pylist() if captions else [None] * len(batch)
    facts = [column[name].to_pylist() for name in ("path", "size")]
    facts.append([value or 0 for value in column["modified"].cast(pa.int64()).to_pylist()])
    facts.append([value or "" for value in column["taken"].to_pylist()])
    facts += [column[name].to_pylist() for name in ("sha256", "pixels_sha256", "width", "height")]
    texts = [caption_of(text) if isinstance(text, str) else None for text in texts]
    rows = [IndexedImage(os.fsencode(path), *values) for path, *values in zip(*facts, texts, strict=True)]
    embeds = column["embedding"].flatten().to_numpy(zero_copy_only=False).reshape(len(rows), dim)
    norms = np.linalg.norm(embeds, axis=1, keepdims=True)
    if not (np.abs(norms - 1) < _NORM_TOLERANCE).all():
        raise ValueError("an embedding is not of unit norm")
    return rows, embeds / norms
