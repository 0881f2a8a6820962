"""Conversion between numpy and Keras variables, by the canonical names of `clip_core.modeling.parameters`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import ml_dtypes  # noqa: F401  makes bfloat16 and float8 known to numpy by name
import numpy as np
import tensorflow as tf

from converters.naming.transforms import AS_IT_IS, TRANSFORMS, from_stored, to_stored
from converters.tensors import ALIGNMENT, TensorEntry

if TYPE_CHECKING:
    from collections.abc import Iterable

# For each kind of layer, the attributes that hold the canonical weight and bias, and the transforms of their layouts.
_LAYOUTS: dict[type, dict[str, tuple[str, str]]] = {
    keras.layers.Dense: {"weight": ("kernel", "transpose"), "bias": ("bias", AS_IT_IS)},
    keras.layers.Conv2D: {"weight": ("kernel", "OIHW to HWIO"), "bias": ("bias", AS_IT_IS)},
    keras.layers.Embedding: {"weight": ("embeddings", AS_IT_IS)},
    keras.layers.LayerNormalization: {"weight": ("gamma", AS_IT_IS), "bias": ("beta", AS_IT_IS)},
    # CLIP has none, but a user's class may.
    keras.layers.BatchNormalization: {
        "weight": ("gamma", AS_IT_IS),
        "bias": ("beta", AS_IT_IS),
        "running_mean": ("moving_mean", AS_IT_IS),
        "running_var": ("moving_variance", AS_IT_IS),
    },
}


class Parameter(NamedTuple):
    """A parameter of a model.

    Attributes:
        variable: the Keras variable that holds it; or a tensor, the sum of several variables, if Keras added LoRA to
            the layer.
        transform: the name in `converters.naming.transforms.TRANSFORMS` of the transform from the canonical layout.
    """

    variable: Any
    transform: str = AS_IT_IS

    def entry(self) -> TensorEntry:
        """Return the canonical tensor for the converters, which copy it to the CPU only to write it."""
        shape, dtype = tuple(self.variable.shape), numpy_dtype(self.variable.dtype)
        stored = TensorEntry(shape, dtype, lambda: _value(self.variable).numpy())
        parts = from_stored(stored, self.transform)
        assert parts is not None  # noqa: S101  for the type checker; the variable's layout fits its transform
        return parts[0]

    def read(self) -> np.ndarray:
        """Return the values in canonical layout."""
        return self.canonical(_value(self.variable).numpy())

    def canonical(self, array: np.ndarray) -> np.ndarray:
        """Convert values in the variable's layout, such as its gradient, to the canonical layout."""
        (canonical,) = TRANSFORMS[self.transform].from_file(array)
        return canonical if self.transform == AS_IT_IS else np.ascontiguousarray(canonical)

    def take(self, entry: TensorEntry) -> None:
        """Assign a tensor of a checkpoint, in the variable's dtype and without an intermediate copy.

        A tensor stored in the variable's layout is read without transposing.
        """
        stored = to_stored([entry], self.transform)
        self.variable.assign(adopt(stored.own(numpy_dtype(self.variable.dtype))))

    def assign(self, array: np.ndarray) -> None:
        """Assign values in canonical layout, in the variable's dtype."""
        array = TRANSFORMS[self.transform].to_file([array])
        self.variable.assign(np.asarray(array, numpy_dtype(self.variable.dtype), order="C"))


def _value(variable: Any) -> tf.Tensor:
    return variable if tf.is_tensor(variable) else variable.value


def adopt(array: np.ndarray) -> tf.Tensor:
    """Convert an array that nothing else references to a CPU tensor that shares its memory."""
    if array.ctypes.data % ALIGNMENT:  # TensorFlow crashes on unaligned memory
        return tf.constant(array)
    carrier = array if array.dtype.isbuiltin == 1 else array.view(f"u{array.itemsize}")  # DLPack has no bfloat16
    tensor = tf.experimental.dlpack.from_dlpack(carrier.__dlpack__())
    return tensor if carrier is array else tf.bitcast(tensor, tf.as_dtype(array.dtype))


def parameter(model: Any, name: str) -> Parameter:
    """Return a parameter by its canonical name, found by walking the tree of layers."""
    *path, kind = name.split(".")
    layer = model
    for segment in path:
        layer = layer[int(segment)] if segment.isdigit() else getattr(layer, segment)
    return own_parameters(layer).get(kind) or Parameter(getattr(layer, kind))


def own_parameters(layer: Any) -> dict[str, Parameter]:
    """Return the parameters of a Keras layer, without those of its sublayers, by the last part of their names."""
    for layer_type, layout in _LAYOUTS.items():
        if isinstance(layer, layer_type):
            held = {kind: (getattr(layer, attribute), transform) for kind, (attribute, transform) in layout.items()}
            return {kind: Parameter(*found) for kind, found in held.items() if found[0] is not None}
    return {}


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
        ValueError: there is no such dtype, or it is not a floating-point dtype.
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
    """Place the variables and operations of a block on a device, by TensorFlow's name or "cuda"; None lets it choose.

    Raises:
        ValueError: there is no such device.
    """
    if device is None:
        return nullcontext()
    kind, _, number = device.lower().replace("cuda", "gpu").partition(":")
    there, number = tf.config.list_logical_devices(kind.upper()), number or "0"
    if not number.isdecimal() or int(number) >= len(there):
        names = ", ".join(found.name.removeprefix("/device:").lower() for found in tf.config.list_logical_devices())
        raise ValueError(f"device={device!r} is not available in TensorFlow; give one of {names}")
    return tf.device(there[int(number)].name)
