"""What CLIP needs in any framework, and nothing of one: configs, tokenizers, image processor, outputs, tasks.

The names are loaded when they are first used, so that `import clip_core` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clip_core.configuration import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
    from clip_core.image_processing import CLIPFeatureExtractor, CLIPImageProcessor
    from clip_core.processing import CLIPProcessor
    from clip_core.tokenization import CLIPTokenizer
    from clip_core.tokenization_fast import CLIPTokenizerFast
    from clip_core.zero_shot import ZeroShotClassifier

_MODULES = {
    "CLIPConfig": "configuration",
    "CLIPFeatureExtractor": "image_processing",
    "CLIPImageProcessor": "image_processing",
    "CLIPProcessor": "processing",
    "CLIPTextConfig": "configuration",
    "CLIPTokenizer": "tokenization",
    "CLIPTokenizerFast": "tokenization_fast",
    "CLIPVisionConfig": "configuration",
    "ZeroShotClassifier": "zero_shot",
}

__all__ = [
    "CLIPConfig",
    "CLIPFeatureExtractor",
    "CLIPImageProcessor",
    "CLIPProcessor",
    "CLIPTextConfig",
    "CLIPTokenizer",
    "CLIPTokenizerFast",
    "CLIPVisionConfig",
    "ZeroShotClassifier",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'clip_core' has no attribute {name!r}")
    return getattr(import_module(f"clip_core.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
