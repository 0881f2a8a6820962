"""Between numpy and Keras variables, by the canonical names of `clip_core.modeling.parameters`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import ml_dtypes  # noqa: F401  lets numpy read the names of bfloat16 and float8
import numpy as np
import tensorflow as tf

from converters.tensors import ALIGNMENT, TensorEntry, rearranged

if TYPE_CHECKING:
    from collections.abc import Iterable

    Axes = tuple[int, ...] | None

# How each kind of layer keeps what the canonical table calls weight and bias: the attribute, and the axes of its
# variable in canonical order.
_LAYOUTS: dict[type, dict[str, tuple[str, Axes]]] = {
    keras.layers.Dense: {"weight": ("kernel", (1, 0)), "bias": ("bias", None)},  # (in, out)
    keras.layers.Conv2D: {"weight": ("kernel", (3, 2, 0, 1))},  # (height, width, in, out)
    keras.layers.Embedding: {"weight": ("embeddings", None)},
    keras.layers.LayerNormalization: {"weight": ("gamma", None), "bias": ("beta", None)},
}


class Parameter(NamedTuple):
    """A parameter of a model.

    Attributes:
        variable: where it is kept.
        axes: the axes of the variable in canonical order; None where they are so.
    """

    variable: Any
    axes: Axes

    def entry(self) -> TensorEntry:
        """Wrap it for the converters to write, which bring it to the CPU only then."""
        shape = tuple(self.variable.shape)
        canonical_shape = shape if self.axes is None else tuple(shape[axis] for axis in self.axes)
        return TensorEntry(canonical_shape, numpy_dtype(self.variable.dtype), self.read)

    def read(self) -> np.ndarray:
        """Return its values in canonical order."""
        return self.canonical(self.variable.value.numpy())

    def canonical(self, array: np.ndarray) -> np.ndarray:
        """Return values laid out as the variable, such as its gradient, in canonical order."""
        return array if self.axes is None else np.ascontiguousarray(array.transpose(self.axes))

    def take(self, entry: TensorEntry) -> None:
        """Set it from a checkpoint's tensor, in the variable's dtype, with no second copy of the values."""
        if self.axes is not None:
            entry = _transposed(entry, np.argsort(self.axes))
        self.variable.assign(adopt(entry.own(numpy_dtype(self.variable.dtype))))

    def assign(self, array: np.ndarray) -> None:
        """Set it from values in canonical order, in the variable's dtype."""
        if self.axes is not None:
            array = array.transpose(np.argsort(self.axes))
        self.variable.assign(np.asarray(array, numpy_dtype(self.variable.dtype), order="C"))


def _transposed(entry: TensorEntry, axes: np.ndarray) -> TensorEntry:
    shape = tuple(entry.shape[axis] for axis in axes)
    return rearranged(shape, [entry], lambda arrays: arrays[0].transpose(axes))


def adopt(array: np.ndarray) -> tf.Tensor:
    """Turn an array that nothing else holds into a CPU tensor, which stays where `TensorEntry.own` put it."""
    if array.ctypes.data % ALIGNMENT:  # TensorFlow ends the process where it is to compute with such
        return tf.constant(array)
    carrier = array if array.dtype.isbuiltin == 1 else array.view(f"u{array.itemsize}")  # DLPack has no bfloat16
    tensor = tf.experimental.dlpack.from_dlpack(carrier.__dlpack__())
    return tensor if carrier is array else tf.bitcast(tensor, tf.as_dtype(array.dtype))


def parameter(model: Any, name: str) -> Parameter:
    """Return a parameter by its canonical name, found by going down the tree of layers."""
    *path, kind = name.split(".")
    layer = model
    for segment in path:
        layer = layer[int(segment)] if segment.isdigit() else getattr(layer, segment)
    for layer_type, layout in _LAYOUTS.items():
        if isinstance(layer, layer_type):
            attribute, axes = layout[kind]
            return Parameter(getattr(layer, attribute), axes)
    return Parameter(getattr(layer, kind), None)


def parameters(model: Any, names: Iterable[str]) -> dict[str, Parameter]:
    """Return parameters by canonical name."""
    return {name: parameter(model, name) for name in names}


def known_values(tensor: Any) -> np.ndarray | None:
    """Return the values of an input, or None if a graph hides them."""
    return tensor.numpy() if tf.executing_eagerly() and isinstance(tensor, tf.Tensor) else None


def to_entry(array: Any) -> TensorEntry:
    """Wrap a tensor or array for the converters."""
    array = np.asarray(array)
    return TensorEntry(array.shape, array.dtype, lambda: array)


def at_least_float32(states: tf.Tensor) -> tf.Tensor:
    """Cast a tensor to float32, unless it is in float64."""
    return states if states.dtype == tf.float64 else tf.cast(states, tf.float32)


def numpy_dtype(name: str) -> np.dtype:
    """Return numpy's dtype for the name of a Keras dtype."""
    return np.dtype(tf.as_dtype(name).as_numpy_dtype)


def check_dtype(dtype: Any) -> keras.dtype_policies.DTypePolicy:
    """Return a Keras policy for a dtype, its name, or a policy such as "mixed_bfloat16".

    Raises:
        ValueError: no such dtype, or not one of floating point.
    """
    if isinstance(dtype, keras.dtype_policies.DTypePolicy):
        return dtype
    try:
        name = dtype if isinstance(dtype, str) else tf.as_dtype(dtype).name
        policy = keras.dtype_policies.get(name)
        floating = tf.as_dtype(policy.variable_dtype).is_floating
    except (TypeError, ValueError):
        floating = False
    if not floating:
        raise ValueError(
            f"dtype={dtype!r} is not a floating-point dtype; give float32, float16, bfloat16, mixed_float16, "
            "mixed_bfloat16 or 'auto'"
        )
    return policy


def on_device(device: str | None) -> AbstractContextManager[Any]:
    """Place variables and operations of a block on a device by TensorFlow's name or "cuda"; None lets it choose.

    Raises:
        ValueError: there is no such device.
    """
    if device is None:
        return nullcontext()
    kind, _, number = device.lower().replace("cuda", "gpu").partition(":")
    there = tf.config.list_logical_devices(kind.upper())
    if int(number or 0) >= len(there):
        names = ", ".join(found.name.removeprefix("/device:").lower() for found in tf.config.list_logical_devices())
        raise ValueError(f"device={device!r} is none that TensorFlow has here; there are {names}")
    return tf.device(there[int(number or 0)].name)
