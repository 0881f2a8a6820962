"""Joint processing of texts and images into model inputs.

The names in `__all__` are public; the modules are internal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_core.imports.lazy import names_on_demand

if TYPE_CHECKING:
    from clip_core.processing.batch import BatchFeature
    from clip_core.processing.frameworks import Framework
    from clip_core.processing.processor import CLIPProcessor

__all__ = [
    "BatchFeature",
    "CLIPProcessor",
    "Framework",
]

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "BatchFeature": "batch",
        "CLIPProcessor": "processor",
        "Framework": "frameworks",
    },
)
