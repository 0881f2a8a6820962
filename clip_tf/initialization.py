"""Layers that know their shapes, with random weights drawn with the standard deviations of transformers' CLIP.

Keras normally creates weights when a layer is first called. Here they are created with the model, so that a checkpoint
can be assigned: every layer states its input width, and `build` walks the tree of layers without any input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from clip_core.modeling.drawing import is_drawing
from clip_tf.tensors import adopt, numpy_dtype
from converters.tensors import aligned

if TYPE_CHECKING:
    from collections.abc import Container

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"clip_tf needs Keras on TensorFlow, but Keras runs on {keras.backend.backend()!r}; unset the environment "
        'variable KERAS_BACKEND or set KERAS_BACKEND=tensorflow (or "backend": "tensorflow" in ~/.keras/keras.json) '
        "before keras is imported, or use the package of your framework: clip_torch or clip_flax",
        name="clip_tf",
    )


@keras.saving.register_keras_serializable("clip_zoo")
class Untouched(keras.initializers.Zeros):
    """Zeros; the system allocates their memory only when they are written.

    Args:
        std: the standard deviation of the values that `draw` replaces them with.
    """

    def __init__(self, std: float = 0.0) -> None:
        self.std = std

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        """Return the zeros as a TensorFlow tensor."""
        return adopt(aligned(np.zeros, tuple(shape), numpy_dtype(dtype or keras.config.floatx())))


def normal(std: float) -> Any:
    """Return the initializer of a normal weight of standard deviation `std`."""
    return keras.initializers.RandomNormal(mean=0.0, stddev=std) if is_drawing() else Untouched(std)


# The attribute that holds the initializer of each random weight.
_STARTS = {
    "kernel": "kernel_initializer",
    "embeddings": "embeddings_initializer",
    "class_embedding": "class_initializer",
}


def draw(layer: Any, fresh: Container[int]) -> None:
    """Draw the weight of a layer that was created without drawing, if its id is in `fresh`."""
    for name, its_start in _STARTS.items():
        start, variable = getattr(layer, its_start, None), getattr(layer, name, None)
        if isinstance(start, Untouched) and variable is not None and id(variable) in fresh:
            drawn = keras.initializers.RandomNormal(mean=0.0, stddev=start.std)
            variable.assign(drawn(variable.shape, dtype=variable.dtype))


def linear(
    in_features: int, out_features: int, *, std: float, name: str, dtype: Any, bias: bool = True
) -> keras.layers.Dense:
    """Return a linear layer with a normal kernel of standard deviation `std` and a zero bias."""
    layer = keras.layers.Dense(
        out_features,
        use_bias=bias,
        kernel_initializer=normal(std),
        bias_initializer="zeros",
        name=name,
        dtype=dtype,
    )
    return _takes(layer, in_features, rank=2)


def projection(width: int, config: Any, *, name: str, dtype: Any) -> keras.layers.Dense:
    """Return a linear layer without bias from a tower's width into the joint space."""
    std = width**-0.5 * config.initializer_factor
    return linear(width, config.projection_dim, std=std, bias=False, name=name, dtype=dtype)


def embedding(num_embeddings: int, width: int, *, std: float, name: str, dtype: Any) -> keras.layers.Embedding:
    """Return a normal embedding table of standard deviation `std`."""
    return keras.layers.Embedding(
        num_embeddings, width, embeddings_initializer=normal(std), mask_zero=False, name=name, dtype=dtype
    )


def patch_convolution(
    in_channels: int, width: int, patch_size: int, *, std: float, name: str, dtype: Any
) -> keras.layers.Conv2D:
    """Return a convolution over disjoint patches, without bias, normal with standard deviation `std`.

    It takes `(batch, height, width, channels)`, the only layout in which TensorFlow can convolve on a CPU.
    """
    layer = keras.layers.Conv2D(
        width,
        kernel_size=patch_size,
        strides=patch_size,
        padding="valid",
        data_format="channels_last",
        use_bias=False,
        kernel_initializer=normal(std),
        name=name,
        dtype=dtype,
    )
    return _takes(layer, in_channels, rank=4)


def layer_norm(width: int, *, epsilon: float, name: str, dtype: Any) -> keras.layers.LayerNormalization:
    """Return a layer norm over the last axis, computed in float32 at least."""
    layer = keras.layers.LayerNormalization(axis=-1, epsilon=epsilon, name=name, dtype=dtype)
    return _takes(layer, width, rank=2)


def _takes(layer: Any, width: int, *, rank: int) -> Any:
    layer.input_spec = keras.layers.InputSpec(min_ndim=rank, axes={-1: width})
    return layer


class CLIPLayer(keras.layers.Layer):
    """A layer whose sublayers can be built before its first call and replaced after it."""

    def build(self, input_shape: Any = None) -> None:  # noqa: ARG002  the shapes that Keras passes are already known
        """Create the weights of all sublayers."""
        build_sublayers(self._layers)

    def exchange(self, name: str, layer: keras.layers.Layer) -> None:
        """Replace a sublayer; Keras does not allow this by plain assignment."""
        self._tracker.unlock()
        self._tracker.untrack(getattr(self, name))
        setattr(self, name, layer)
        self._tracker.lock()


class CLIPEmbeddings(CLIPLayer):
    """A layer with a table of position embeddings."""

    @property
    def num_positions(self) -> int:
        """The number of positions."""
        return int(self.position_embedding.input_dim)

    @property
    def position_ids(self) -> tf.Tensor:
        """The positions, `(1, positions)`."""
        return tf.range(self.num_positions)[None]


def build_sublayers(layers: list[Any]) -> None:
    """Build layers from the input widths that they state. A subclass's layers that state none are built when called."""
    for layer in layers:
        spec = layer.input_spec
        if layer.built:
            continue
        if getattr(spec, "axes", None):
            layer.build((None,) * (spec.min_ndim - 1) + (spec.axes[-1],))
        elif isinstance(layer, (CLIPLayer, keras.layers.Embedding)):
            layer.build(None)
