"""Classes as users of each framework derive them: a CLIP as it is, and one with a head under a prefix."""

from __future__ import annotations

from functools import cache
from typing import Any

from clip_core.configuration import CLIPConfig

EXTRA = {"head.weight": (3, 24), "head.bias": (3,)}  # what Head adds to CLIP


class HeadConfig(CLIPConfig):
    """A configuration with a field and a type of its own."""

    model_type = "clip_with_head"

    def __init__(self, classes: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classes = classes


@cache
def derived_classes(name: str) -> tuple[type[Any], type[Any]]:
    """Return `Mine`, a CLIPModel and no more, and `Head`, which holds one, of a backend.

    Head takes a `scale` after the configuration, and its call maps images to `classes` numbers.
    """
    return {"torch": _torch, "tf": _tf, "flax": _flax}[name]()


def _torch() -> tuple[type[Any], type[Any]]:
    from torch import nn

    from clip_torch import CLIPModel, CLIPPreTrainedModel

    class Mine(CLIPModel):
        pass

    class Head(CLIPPreTrainedModel):
        config_class = HeadConfig
        base_model_prefix = "clip"

        def __init__(self, config: HeadConfig, scale: float = 1.0) -> None:
            super().__init__(config)
            self.clip = CLIPModel(config)
            self.head = nn.Linear(config.projection_dim, config.classes)
            self.scale = scale
            self.post_init()

        def forward(self, pixel_values: Any) -> Any:
            return self.head(self.clip.get_image_features(pixel_values)) * self.scale

    return Mine, Head


def _tf() -> tuple[type[Any], type[Any]]:
    import keras

    from clip_tf import TFCLIPModel, TFCLIPPreTrainedModel

    class Mine(TFCLIPModel):
        pass

    class Head(TFCLIPPreTrainedModel):
        config_class = HeadConfig
        base_model_prefix = "clip"

        def __init__(self, config: HeadConfig, scale: float = 1.0, **kwargs: Any) -> None:
            super().__init__(config, **kwargs)
            self.clip = TFCLIPModel(config, name="clip")
            self.head = keras.layers.Dense(config.classes, name="head")
            self.scale = scale

        def call(self, pixel_values: Any = None, training: bool = False) -> Any:
            return self.head(self.clip.get_image_features(pixel_values)) * self.scale

    return Mine, Head


def _flax() -> tuple[type[Any], type[Any]]:
    from flax import nnx

    from clip_flax import FlaxCLIPModel, FlaxCLIPPreTrainedModel

    class Mine(FlaxCLIPModel):
        pass

    class Head(FlaxCLIPPreTrainedModel):
        config_class = HeadConfig
        base_model_prefix = "clip"

        def __init__(self, config: HeadConfig, scale: float = 1.0, **kwargs: Any) -> None:
            super().__init__(config, **kwargs)
            self.clip = FlaxCLIPModel(config, **kwargs)
            self.head = nnx.Linear(config.projection_dim, config.classes, rngs=nnx.Rngs(0))
            self.scale = scale

        def __call__(self, pixel_values: Any) -> Any:
            return self.head(self.clip.get_image_features(pixel_values)) * self.scale

    return Mine, Head
