"""Image preprocessing: images to pixel values.

The names in `__all__` are public; the modules are internal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_core.imports.lazy import names_on_demand

if TYPE_CHECKING:
    from clip_core.images.processor import CLIPFeatureExtractor, CLIPImageProcessor, CLIPImageProcessorFast

__all__ = [
    "CLIPFeatureExtractor",
    "CLIPImageProcessor",
    "CLIPImageProcessorFast",
]

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "CLIPFeatureExtractor": "processor",
        "CLIPImageProcessor": "processor",
        "CLIPImageProcessorFast": "processor",
    },
)
