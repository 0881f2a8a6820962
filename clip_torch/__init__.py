"""CLIP for PyTorch: the classes of transformers' CLIP page, with its names, arguments, outputs and values.

Example:
    >>> from clip_torch import CLIPModel, CLIPProcessor
    >>> model = CLIPModel.from_pretrained("openai/clip-vit-base-patch32")  # doctest: +SKIP

The names in `__all__` are public; the modules are internal.
"""

from typing import TYPE_CHECKING, Any

import clip_core
import clip_core.imports.shadowing  # before the first import from `converters`
from clip_core.backends import NotInstalledError, declare_backend
from clip_core.configuration import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from clip_core.imports.lazy import missing_name
from clip_core.modeling.outputs import OUTPUT_CLASSES

try:
    from torch.export import register_dataclass

    from clip_torch.bridge import from_transformers, to_transformers
    from clip_torch.model import CLIPModel
    from clip_torch.pretrained import CLIPPreTrainedModel
    from clip_torch.text import CLIPTextModel, CLIPTextModelWithProjection
    from clip_torch.vision import CLIPForImageClassification, CLIPVisionModel, CLIPVisionModelWithProjection
except ModuleNotFoundError as error:
    raise NotInstalledError.of(__name__, "clip-zoo[torch]", error) from None

if TYPE_CHECKING:
    from clip_core import (
        AddedToken,
        BatchEncoding,
        BatchFeature,
        CLIPFeatureExtractor,
        CLIPImageProcessor,
        CLIPImageProcessorFast,
        CLIPProcessor,
        CLIPTokenizer,
        CLIPTokenizerFast,
    )

# A copy that is not installed has no entry point.
declare_backend("torch", "clip_torch.backend:backend")

# torch.export flattens and unflattens outputs, and torch.export.save stores their names.
for _output_class in OUTPUT_CLASSES:
    register_dataclass(_output_class, serialized_type_name=f"clip_core.outputs.{_output_class.__name__}")

__all__ = [
    "AddedToken",
    "BatchEncoding",
    "BatchFeature",
    "CLIPConfig",
    "CLIPFeatureExtractor",
    "CLIPForImageClassification",
    "CLIPImageProcessor",
    "CLIPImageProcessorFast",
    "CLIPModel",
    "CLIPPreTrainedModel",
    "CLIPProcessor",
    "CLIPTextConfig",
    "CLIPTextModel",
    "CLIPTextModelWithProjection",
    "CLIPTokenizer",
    "CLIPTokenizerFast",
    "CLIPVisionConfig",
    "CLIPVisionModel",
    "CLIPVisionModelWithProjection",
    "from_transformers",
    "to_transformers",
]


def __getattr__(name: str) -> Any:
    """Load tokenizers and processors on first use: models do not need them."""
    if name not in __all__:
        raise missing_name(__name__, name)
    return getattr(clip_core, name)


def __dir__() -> list[str]:
    return __all__
