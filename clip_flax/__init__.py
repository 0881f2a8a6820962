"""CLIP for Flax, on NNX: the classes of transformers' CLIP page, with its names, arguments, outputs and values.

Example:
    >>> from clip_flax import CLIPModel, CLIPProcessor
    >>> model = CLIPModel.from_pretrained("openai/clip-vit-base-patch32")  # doctest: +SKIP

The names in `__all__` are public; the modules are internal.
"""

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import clip_core
import clip_core.imports.shadowing  # before the first import from `converters`
from clip_core.backends import NotInstalledError, declare_backend
from clip_core.configuration import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from clip_core.imports.lazy import missing_name
from clip_core.modeling.outputs import OUTPUT_CLASSES

try:
    from jax.export import register_pytree_node_serialization
    from jax.tree_util import register_dataclass

    from clip_flax.linen import (
        MODULE_CLASSES,
        FlaxCLIPForImageClassificationModule,
        FlaxCLIPModule,
        FlaxCLIPTextModelWithProjectionModule,
        FlaxCLIPTextModule,
        FlaxCLIPVisionModelWithProjectionModule,
        FlaxCLIPVisionModule,
    )
    from clip_flax.model import CLIPModel
    from clip_flax.pretrained import CLIPPreTrainedModel
    from clip_flax.text import CLIPTextModel, CLIPTextModelWithProjection
    from clip_flax.vision import CLIPForImageClassification, CLIPVisionModel, CLIPVisionModelWithProjection
except ModuleNotFoundError as error:
    raise NotInstalledError.of(__name__, "clip-zoo[flax]", error) from None

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
declare_backend("flax", "clip_flax.backend:backend")

# jax.jit and jax.export flatten and unflatten outputs, so they must know the fields.
for _output_class in OUTPUT_CLASSES:
    register_dataclass(_output_class, [field.name for field in fields(_output_class)], [])
    register_pytree_node_serialization(
        _output_class,
        serialized_name=f"clip_core.outputs.{_output_class.__name__}",
        serialize_auxdata=lambda _: b"",
        deserialize_auxdata=lambda _: (),
    )

# The names in transformers, and names in its style for classes that it lacks.
FlaxCLIPForImageClassification = CLIPForImageClassification
FlaxCLIPModel = CLIPModel
FlaxCLIPPreTrainedModel = CLIPPreTrainedModel
FlaxCLIPTextModel = CLIPTextModel
FlaxCLIPTextModelWithProjection = CLIPTextModelWithProjection
FlaxCLIPTextPreTrainedModel = CLIPPreTrainedModel
FlaxCLIPVisionModel = CLIPVisionModel
FlaxCLIPVisionModelWithProjection = CLIPVisionModelWithProjection
FlaxCLIPVisionPreTrainedModel = CLIPPreTrainedModel

# Error messages name a class by its public name.
for _class in (
    CLIPForImageClassification,
    CLIPModel,
    CLIPPreTrainedModel,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
):
    _class.__name__ = f"Flax{_class.__name__}"

# Models and their Linen modules are attributed to this package, as in transformers.
for _class in (*(module_class.model_class for module_class in MODULE_CLASSES), *MODULE_CLASSES):
    _class.__module__ = __name__

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
    "FlaxCLIPForImageClassification",
    "FlaxCLIPForImageClassificationModule",
    "FlaxCLIPModel",
    "FlaxCLIPModule",
    "FlaxCLIPPreTrainedModel",
    "FlaxCLIPTextModel",
    "FlaxCLIPTextModelWithProjection",
    "FlaxCLIPTextModelWithProjectionModule",
    "FlaxCLIPTextModule",
    "FlaxCLIPTextPreTrainedModel",
    "FlaxCLIPVisionModel",
    "FlaxCLIPVisionModelWithProjection",
    "FlaxCLIPVisionModelWithProjectionModule",
    "FlaxCLIPVisionModule",
    "FlaxCLIPVisionPreTrainedModel",
]


def __getattr__(name: str) -> Any:
    """Load tokenizers and processors on first use: models do not need them."""
    if name not in __all__:
        raise missing_name(__name__, name)
    return getattr(clip_core, name)


def __dir__() -> list[str]:
    return __all__
