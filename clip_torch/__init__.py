"""CLIP for PyTorch: the classes of transformers' CLIP page, with its names, arguments, outputs and numbers.

Example:
    >>> from clip_torch import CLIPModel, CLIPProcessor
    >>> model = CLIPModel.from_pretrained("openai/clip-vit-base-patch32")  # doctest: +SKIP
"""

from torch.export import register_dataclass

from clip_core import (
    CLIPConfig,
    CLIPFeatureExtractor,
    CLIPImageProcessor,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPTokenizer,
    CLIPTokenizerFast,
    CLIPVisionConfig,
)
from clip_core.outputs import OUTPUT_CLASSES
from clip_torch.model import CLIPModel
from clip_torch.pretrained import CLIPPreTrainedModel
from clip_torch.text import CLIPTextModel, CLIPTextModelWithProjection
from clip_torch.vision import CLIPForImageClassification, CLIPVisionModel, CLIPVisionModelWithProjection

# torch.export takes outputs apart and puts them together again; it has to know their fields.
for _output_class in OUTPUT_CLASSES:
    register_dataclass(_output_class)

__all__ = [
    "CLIPConfig",
    "CLIPFeatureExtractor",
    "CLIPForImageClassification",
    "CLIPImageProcessor",
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
]
