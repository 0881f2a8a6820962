"""Framework-free part of CLIP: configurations, tokenizers, image processor, outputs, data and tasks.

Names are loaded on first use, so that `import clip_core` is nearly free.

The names in `__all__` are public; the modules other than `clip_core.backends` are internal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_core.imports.lazy import names_on_demand

if TYPE_CHECKING:
    from clip_core.configuration import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
    from clip_core.images import CLIPFeatureExtractor, CLIPImageProcessor, CLIPImageProcessorFast
    from clip_core.processing import BatchFeature, CLIPProcessor
    from clip_core.tasks import ZeroShotClassifier
    from clip_core.tokenization import AddedToken, BatchEncoding, CLIPTokenizer, CLIPTokenizerFast

__all__ = [
    "AddedToken",
    "BatchEncoding",
    "BatchFeature",
    "CLIPConfig",
    "CLIPFeatureExtractor",
    "CLIPImageProcessor",
    "CLIPImageProcessorFast",
    "CLIPProcessor",
    "CLIPTextConfig",
    "CLIPTokenizer",
    "CLIPTokenizerFast",
    "CLIPVisionConfig",
    "ZeroShotClassifier",
]


__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "AddedToken": "tokenization",
        "BatchEncoding": "tokenization",
        "BatchFeature": "processing",
        "CLIPConfig": "configuration",
        "CLIPFeatureExtractor": "images",
        "CLIPImageProcessor": "images",
        "CLIPImageProcessorFast": "images",
        "CLIPProcessor": "processing",
        "CLIPTextConfig": "configuration",
        "CLIPTokenizer": "tokenization",
        "CLIPTokenizerFast": "tokenization",
        "CLIPVisionConfig": "configuration",
        "ZeroShotClassifier": "tasks",
    },
)
