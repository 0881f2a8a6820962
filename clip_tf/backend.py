"""TensorFlow behind the tasks of clip_core: numpy in, numpy out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from clip_core.backends import Backend
from clip_core.modeling.inputs import check_ids, check_pixel_shape
from clip_core.modeling.parameters import parameter_table
from clip_core.modeling.trimming import trimmed
from clip_core.tasks.labels import fingerprint
from clip_tf import explain
from clip_tf.arrays import framework
from clip_tf.model import CLIPModel, unit_norm
from clip_tf.tensors import on_device, parameters
from clip_tf.trace import trace
from clip_tf.training import check_options, make_trainer

if TYPE_CHECKING:
    import os

    import numpy as np

    from clip_core.configuration import CLIPConfig
    from clip_core.tasks.explain.gradients import LayerAttention, LogitGradients


class ModelEncoder:
    """A CLIPModel as a `clip_core.backends.Encoder`. Its towers run as graphs, traced once for all shapes.

    Args:
        model: the model, in its final dtype.
    """

    def __init__(self, model: CLIPModel) -> None:
        self.model = model
        ids = tf.TensorSpec((None, None), tf.int32)
        vision = model.config.vision_config
        pixels = tf.TensorSpec((None, vision.num_channels, vision.image_size, vision.image_size), tf.float32)
        self._texts = tf.function(self._text_embeds, input_signature=(ids, ids))
        self._images = tf.function(self._image_embeds, input_signature=(pixels,))

    def encode_images(self, pixel_values: np.ndarray) -> np.ndarray:
        """Embed images `(batch, channels, height, width)` with unit norm: `(batch, projection)`, float32."""
        check_pixel_shape(pixel_values.shape, self.model.config.vision_config, interpolate=False)
        return _float32(self._images(tf.cast(pixel_values, tf.float32)))

    def encode_texts(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        """Embed ids and mask `(batch, seq)` with unit norm: `(batch, projection)`, float32."""
        check_ids(input_ids, self.model.config.text_config.vocab_size)
        known = tf.convert_to_tensor(input_ids), tf.convert_to_tensor(attention_mask)
        ids, mask = trimmed(input_ids, attention_mask, self.model.text_model.lengths_to_read(*known))
        return _float32(self._texts(tf.cast(ids, tf.int32), tf.cast(mask, tf.int32)))

    def text_fingerprint(self) -> str:
        """Return a fingerprint of the text tower; see `clip_core.tasks.labels`."""
        names = [name for name in parameter_table(self.model.config, "CLIPModel") if name.startswith("text_")]
        own = ((name, parameter.read()) for name, parameter in parameters(self.model, names).items())
        framework = f"tensorflow {self.model.dtype_policy.name}"
        return fingerprint(framework, self.model.config.text_config, own)

    def logits_per_image(self, image_embeds: np.ndarray, text_embeds: np.ndarray) -> np.ndarray:
        """Return scaled similarities `(images, texts)`, float32, computed in the dtype of the model's weights."""
        images, texts = (tf.cast(embeds, self.model.variable_dtype) for embeds in (image_embeds, text_embeds))
        return _float32(tf.matmul(images, texts, transpose_b=True) * tf.exp(self.model.logit_scale))

    def prepared(self) -> ModelEncoder:
        """Return an encoder for many inputs: this one, because its graphs are optimized already."""
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

    def _image_embeds(self, pixel_values: tf.Tensor) -> tf.Tensor:
        return unit_norm(self.model.get_image_features(pixel_values))

    def _text_embeds(self, input_ids: tf.Tensor, attention_mask: tf.Tensor) -> tf.Tensor:
        return unit_norm(self.model.get_text_features(input_ids, attention_mask))


def load(
    source: str | os.PathLike[str], *, device: str | None = None, dtype: str | None = None, **options: Any
) -> ModelEncoder:
    """Load a CLIPModel for the tasks.

    Args:
        source: a folder, file or hub id.
        device: "cpu", "gpu:0" and so on, as TensorFlow names them; by default TensorFlow's choice.
        dtype: "float32", "float16", "bfloat16", a Keras policy such as "mixed_bfloat16", or "auto"; float32 by default.
        **options: further keywords of `CLIPModel.from_pretrained`.
    """
    with on_device(device):
        return ModelEncoder(CLIPModel.from_pretrained(source, dtype=dtype or "float32", **options))


def versions() -> dict[str, str]:
    """Return the versions of the framework, and its device."""
    devices = [device.device_type for device in tf.config.list_physical_devices()]
    return {"tensorflow": tf.__version__, "keras": keras.__version__, "tensorflow device": devices[-1]}


def _float32(tensor: tf.Tensor) -> np.ndarray:
    array: np.ndarray = tf.cast(tensor, tf.float32).numpy()
    return array


backend = Backend(load, trace, make_trainer, framework.name, versions, check=check_options)
