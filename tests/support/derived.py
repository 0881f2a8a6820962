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


@cache
def regularized(name: str) -> type[Any]:
    """Return `Regularized` of a backend: a head with the statistics of a batch norm and with dropout."""
    return {"torch": _regularized_torch, "tf": _regularized_tf, "flax": _regularized_flax}[name]()


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


def _regularized_torch() -> type[Any]:
    from torch import nn

    from clip_torch import CLIPModel, CLIPPreTrainedModel

    class Regularized(CLIPPreTrainedModel):
        base_model_prefix = "clip"

        def __init__(self, config: CLIPConfig) -> None:
            super().__init__(config)
            self.clip = CLIPModel(config)
            self.norm = nn.BatchNorm1d(config.projection_dim)
            self.head = nn.Linear(config.projection_dim, 3)
            self.drop = nn.Dropout(0.5)
            self.post_init()

        def forward(self, pixel_values: Any) -> Any:
            return self.head(self.drop(self.norm(self.clip.get_image_features(pixel_values))))

    return Regularized


def _regularized_tf() -> type[Any]:
    import keras

    from clip_tf import TFCLIPModel, TFCLIPPreTrainedModel

    class Regularized(TFCLIPPreTrainedModel):
        base_model_prefix = "clip"

        def __init__(self, config: CLIPConfig, **kwargs: Any) -> None:
            super().__init__(config, **kwargs)
            self.clip = TFCLIPModel(config, name="clip")
            self.norm = keras.layers.BatchNormalization(name="norm")
            self.head = keras.layers.Dense(3, name="head")
            self.drop = keras.layers.Dropout(0.5)

        def call(self, pixel_values: Any = None, training: bool = False) -> Any:
            embeds = self.norm(self.clip.get_image_features(pixel_values), training=training)
            return self.head(self.drop(embeds, training=training))

    return Regularized


def _regularized_flax() -> type[Any]:
    from flax import nnx

    from clip_flax import FlaxCLIPModel, FlaxCLIPPreTrainedModel

    class Regularized(FlaxCLIPPreTrainedModel):
        base_model_prefix = "clip"

        def __init__(self, config: CLIPConfig, **kwargs: Any) -> None:
            super().__init__(config, **kwargs)
            rngs = nnx.Rngs(0)
            self.clip = FlaxCLIPModel(config, **kwargs)
            self.norm = nnx.BatchNorm(config.projection_dim, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)
            self.head = nnx.Linear(config.projection_dim, 3, rngs=rngs)

        def __call__(self, pixel_values: Any, train: bool = False, dropout_rng: Any = None) -> Any:
            del dropout_rng  # the head's dropout has keys of its own
            embeds = self.norm(self.clip.get_image_features(pixel_values), use_running_average=not train)
            return self.head(self.drop(embeds, deterministic=not train))

    return Regularized
