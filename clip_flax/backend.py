"""Flax behind the tasks of clip_core: numpy in, numpy out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from clip_core.backends import Backend
from clip_core.modeling.inputs import check_ids
from clip_core.tasks.labels import fingerprint
from clip_flax import explain
from clip_flax.arrays import framework
from clip_flax.model import CLIPModel, unit_norm
from clip_flax.tensors import devices_named, flatten
from clip_flax.trace import trace
from clip_flax.training import check_options, make_trainer

if TYPE_CHECKING:
    import os

    from jax import Array

    from clip_core.configuration import CLIPConfig
    from clip_core.tasks.explain.gradients import LayerAttention, LogitGradients


class ModelEncoder:
    """A CLIPModel as a `clip_core.backends.Encoder`.

    Args:
        model: the model, on its final device and in its final dtype.

    Attributes:
        compiles_each_shape: inputs of each new shape cost a compilation, so servers use few shapes.
    """

    compiles_each_shape = True

    def __init__(self, model: CLIPModel) -> None:
        self.model = model

    def encode_images(self, pixel_values: np.ndarray) -> np.ndarray:
        """Embed images `(batch, channels, height, width)` with unit norm: `(batch, projection)`, float32."""
        return _float32(unit_norm(self.model.get_image_features(pixel_values)))

    def encode_texts(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        """Embed ids and mask `(batch, seq)` with unit norm: `(batch, projection)`, float32."""
        check_ids(input_ids, self.model.config.text_config.vocab_size)
        return _float32(unit_norm(self.model.get_text_features(input_ids, attention_mask)))

    def text_fingerprint(self) -> str:
        """Return a fingerprint of the text tower; see `clip_core.tasks.labels`."""
        found = {"/".join(path): leaf for path, leaf in flatten(self.model.params).items()}
        own = ((name, np.asarray(found[name])) for name in found if name.startswith("text_"))
        return fingerprint(f"flax {self.model.dtype}", self.model.config.text_config, own)

    def logits_per_image(self, image_embeds: np.ndarray, text_embeds: np.ndarray) -> np.ndarray:
        """Return scaled similarities `(images, texts)`, float32, computed in the parameters' dtype."""
        logit_scale = self.model.logit_scale.get_value()
        images, texts = (jnp.asarray(embeds, logit_scale.dtype) for embeds in (image_embeds, text_embeds))
        return _float32((jnp.matmul(texts, images.T, precision=None) * jnp.exp(logit_scale)).T)

    def prepared(self) -> ModelEncoder:
        """Return an encoder for many inputs: this one, because XLA has optimized its functions already."""
        return self

    @property
    def config(self) -> CLIPConfig:
        """The model's configuration."""
        return self.model.config

    def logit_gradients(
        self,
        pixel_values: np.ndarray,
        input_ids: np.ndarray,
        attention_mask: np.ndarray,
        *,
        first_image_layer: int,
        first_text_layer: int,
    ) -> LogitGradients:
        """Differentiate the logit of an image with each text; see `ExplainableEncoder.logit_gradients`."""
        check_ids(input_ids, self.config.text_config.vocab_size)
        first = {"first_image_layer": first_image_layer, "first_text_layer": first_text_layer}
        return explain.logit_gradients(self.model, pixel_values, input_ids, attention_mask, **first)

    def layer_gradients(
        self, pixel_values: np.ndarray, text_embeds: np.ndarray, *, first_layer: int
    ) -> list[LayerAttention]:
        """Differentiate each layer's similarity with each text; see `ExplainableEncoder.layer_gradients`."""
        return explain.layer_gradients(self.model, pixel_values, text_embeds, first_layer=first_layer)


def load(
    source: str | os.PathLike[str], *, device: str | None = None, dtype: str | None = None, **options: Any
) -> ModelEncoder:
    """Load a CLIPModel for the tasks.

    Args:
        source: a folder, file or hub id.
        device: "cpu", "gpu", "tpu", or with a number as "gpu:1"; by default JAX's choice.
        dtype: dtype of parameters and computation: "float32", "float16", "bfloat16", or "auto"; float32 by default.
        **options: further keywords of `CLIPModel.from_pretrained`.

    Raises:
        ValueError: there is no such device.
    """
    dtype = dtype or "float32"
    with jax.default_device(None if device is None else devices_named(device)[0]):
        return ModelEncoder(CLIPModel.from_pretrained(source, dtype=dtype, param_dtype=dtype, **options))


def versions() -> dict[str, str]:
    """Return the versions of the framework, and its device."""
    device = jax.devices()[0]
    return {"jax": jax.__version__, "flax": flax.__version__, "jax device": device.device_kind}


def _float32(tensor: Array) -> np.ndarray:
    return np.asarray(tensor.astype(jnp.float32))


backend = Backend(load, trace, make_trainer, framework.name, versions, check=check_options)
