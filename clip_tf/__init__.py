"""CLIP for TensorFlow, on Keras 3: the classes of transformers' CLIP page, with its names, arguments and values.

Example:
    >>> from clip_tf import CLIPModel, CLIPProcessor
    >>> model = CLIPModel.from_pretrained("openai/clip-vit-base-patch32")  # doctest: +SKIP

The names in `__all__` are public; the modules are internal.
"""

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import clip_core
import clip_core.imports.shadowing  # before the first import from `converters`
from clip_core.backends import NotInstalledError, declare_backend
from clip_core.configuration import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from clip_core.imports.lazy import missing_name
from clip_core.modeling.outputs import OUTPUT_CLASSES

try:
    import optree

    from clip_tf.model import CLIPModel
    from clip_tf.pretrained import CLIPPreTrainedModel
    from clip_tf.text import CLIPTextModel, CLIPTextModelWithProjection
    from clip_tf.vision import CLIPForImageClassification, CLIPVisionModel, CLIPVisionModelWithProjection
except (ModuleNotFoundError, ValueError) as error:
    if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":  # of another framework, which may be absent
        raise ImportError(
            f"{__name__} needs Keras on TensorFlow; unset the environment variable KERAS_BACKEND, which is "
            f"{os.environ['KERAS_BACKEND']!r}",
            name=__name__,
        ) from None
    if isinstance(error, ModuleNotFoundError):
        raise NotInstalledError.of(__name__, "clip-zoo[tf]", error) from None
    raise

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
declare_backend("tf", "clip_tf.backend:backend")


def _flatten(output: Any) -> tuple[tuple[Any, ...], tuple[str, ...], tuple[str, ...]]:
    names = tuple(output)
    return tuple(output.values()), names, names


def _unflatten(names: tuple[str, ...], values: tuple[Any, ...], *, output_class: Any) -> Any:
    return output_class(**dict(zip(names, values, strict=True)))


# Keras flattens and unflattens outputs, as in `predict`; it has to know their fields.
for _output_class in OUTPUT_CLASSES:
    optree.register_pytree_node(
        _output_class, _flatten, partial(_unflatten, output_class=_output_class), namespace="keras"
    )

# The names in transformers, and names in its style for classes that it lacks.
TFCLIPForImageClassification = CLIPForImageClassification
TFCLIPModel = CLIPModel
TFCLIPPreTrainedModel = CLIPPreTrainedModel
TFCLIPTextModel = CLIPTextModel
TFCLIPTextModelWithProjection = CLIPTextModelWithProjection
TFCLIPVisionModel = CLIPVisionModel
TFCLIPVisionModelWithProjection = CLIPVisionModelWithProjection

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
    _class.__name__ = f"TF{_class.__name__}"

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
    "TFCLIPForImageClassification",
    "TFCLIPModel",
    "TFCLIPPreTrainedModel",
    "TFCLIPTextModel",
    "TFCLIPTextModelWithProjection",
    "TFCLIPVisionModel",
    "TFCLIPVisionModelWithProjection",
]


def __getattr__(name: str) -> Any:
    """Load tokenizers and processors on first use: models do not need them."""
    if name not in __all__:
        raise missing_name(__name__, name)
    return getattr(clip_core, name)


def __dir__() -> list[str]:
    return __all__
