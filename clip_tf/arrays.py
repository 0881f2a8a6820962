"""TensorFlow's tensors, for processors. Internal; read without importing `clip_tf` or TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np

from clip_core.processing import Framework


def from_numpy(array: np.ndarray) -> Any:
    """Convert a numpy array to a tensor.

    Args:
        array: any shape and dtype.
    """
    import tensorflow as tf

    return tf.convert_to_tensor(array)


def move(tensor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Move a tensor to a device.

    Args:
        tensor: the tensor.
        args: the device's name first, or nothing.
        kwargs: `device`, if it is not in `args`.
    """
    import tensorflow as tf

    with tf.device(kwargs.get("device", args[0] if args else None)):
        return tf.identity(tensor)


framework = Framework(
    "tf", frozenset({"tensorflow"}), from_numpy, np.asarray, move, integer=np.int32, class_prefix="TF"
)
