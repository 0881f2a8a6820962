"""Training data: image-text pairs as numpy batches, in the same order for every framework.

The names in `__all__` are public; the modules are internal.
"""

from __future__ import annotations

from clip_core.data.augmentation import RandomCrop, RandomResizedCrop
from clip_core.data.loader import PairLoader
from clip_core.data.pairs import Broken, IndexedPairs, Pair, StreamedPairs
from clip_core.data.sources import open_pairs

__all__ = [
    "Broken",
    "IndexedPairs",
    "Pair",
    "PairLoader",
    "RandomCrop",
    "RandomResizedCrop",
    "StreamedPairs",
    "open_pairs",
]
