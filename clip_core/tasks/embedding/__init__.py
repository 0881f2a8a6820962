"""Embedding many images into a dataset of Parquet files, in one process or on many machines.

The names in `__all__` are public; the modules are internal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_core.imports.lazy import names_on_demand

if TYPE_CHECKING:
    from clip_core.tasks.embedding.dataset import EmbeddedDataset
    from clip_core.tasks.embedding.job import EmbeddingSummary, embed
    from clip_core.tasks.embedding.parts import PartResult

__all__ = ["EmbeddedDataset", "EmbeddingSummary", "PartResult", "embed"]

__getattr__, __dir__ = names_on_demand(
    __name__,
    {"EmbeddedDataset": "dataset", "EmbeddingSummary": "job", "PartResult": "parts", "embed": "job"},
)
