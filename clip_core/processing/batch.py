"""Named arrays in the caller's framework, as returned by the tokenizer, the image processor and the processor.

A framework is imported only by a call that requests its tensors, and a value's framework is recognized by the package
of its type, so that this module works with none of them installed.
"""

from __future__ import annotations

from collections import UserDict
from typing import Any, Literal, Self, cast

import numpy as np

TensorType = Literal["np", "pt", "tf", "jax"]
TENSOR_TYPES: tuple[TensorType, ...] = ("np", "pt", "tf", "jax")

_RAGGED = "the rows differ in length; pass padding=True (and truncation=True) to make them one tensor"
_FRAMEWORK_OF_PACKAGE = {"numpy": "np", "torch": "pt", "tensorflow": "tf", "jax": "jax", "jaxlib": "jax"}


def framework_of(value: object) -> TensorType | None:
    """Return the framework of an array, or None for any other value.

    Args:
        value: any object.
    """
    package = type(value).__module__.partition(".")[0]
    is_array = hasattr(value, "shape") and hasattr(value, "dtype")
    return cast("TensorType | None", _FRAMEWORK_OF_PACKAGE.get(package)) if is_array else None


def to_numpy(value: Any) -> np.ndarray:
    """Convert an array of any framework and device, or a nested list, to numpy.

    Args:
        value: the array or list.

    Raises:
        ValueError: if the rows of a list differ in length.
    """
    if framework_of(value) == "pt":
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":  # not supported by numpy itself
            import ml_dtypes

            return np.asarray(value.view(_torch().int16)).view(ml_dtypes.bfloat16)
    if isinstance(value, list | tuple) and any(framework_of(item) for item in value):
        value = [to_numpy(item) for item in value]
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(_RAGGED) from error


def to_tensor(value: Any, tensor_type: TensorType) -> Any:
    """Convert nested lists or an array to an array of the requested framework.

    Dtypes are preserved, except that Python floats become float32 outside numpy, and that JAX by default uses 32 bits.

    Args:
        value: nested lists or an array.
        tensor_type: the framework, one of `TENSOR_TYPES`.

    Raises:
        ValueError: if the framework is unknown, the rows differ in length, or the values are not numeric.
        ImportError: if the framework is not installed.
    """
    tensor_type = check_tensor_type(tensor_type)
    if framework_of(value) == tensor_type:
        return value
    array = to_numpy(value)
    if array.dtype == object:
        raise ValueError(_RAGGED)
    if array.dtype.kind in "US":
        raise ValueError("it contains strings, which tensors cannot hold; omit return_tensors")
    if tensor_type == "np":
        return array
    if array.dtype == np.float64 and isinstance(_first_leaf(value), float):
        array = array.astype(np.float32)
    return _FROM_NUMPY[tensor_type](array)


def check_tensor_type(tensor_type: object) -> TensorType:
    """Validate `return_tensors`: a string, or an enum with a string value.

    Args:
        tensor_type: the argument's value.

    Raises:
        ValueError: if it is unknown.
    """
    name = getattr(tensor_type, "value", tensor_type)
    if name not in TENSOR_TYPES:
        raise ValueError(f"return_tensors={tensor_type!r} is unknown; choose from {', '.join(TENSOR_TYPES)} or None")
    return name


class BatchFeature(UserDict[str, Any]):
    """A dict of named arrays whose keys are also attributes.

    Example:
        >>> batch = BatchFeature({"pixel_values": [[0.0, 1.0]]}, tensor_type="np")
        >>> batch.pixel_values.shape
        (1, 2)
    """

    def __init__(self, data: dict[str, Any] | None = None, tensor_type: TensorType | None = None) -> None:
        super().__init__(data or {})
        if tensor_type is not None:
            self.convert_to_tensors(tensor_type)

    def __getattr__(self, name: str) -> Any:
        # Called only for missing attributes; even `data` is missing during unpickling.
        if name != "data" and name in self.data:
            return self.data[name]
        raise AttributeError(
            f"{type(self).__name__} has no {name!r}; it contains {', '.join(self.__dict__.get('data', ()))}"
        )

    def convert_to_tensors(self, tensor_type: TensorType | None = None) -> Self:
        """Convert every value to the framework's arrays, in place.

        Args:
            tensor_type: the framework; None to convert nothing.

        Raises:
            ValueError: if a value cannot be converted; the message names it.
        """
        if tensor_type is not None:
            for name, value in self.data.items():
                if framework_of(value) == tensor_type:
                    continue
                try:
                    self.data[name] = to_tensor(value, tensor_type)
                except ValueError as error:
                    raise ValueError(f"{name} cannot be converted to a tensor: {error}") from error
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move every array to a device, in place.

        Torch tensors accept the arguments of `torch.Tensor.to`; a dtype applies only to floating-point tensors. JAX
        arrays accept a `jax.Device` or a platform name, TensorFlow tensors a device name; numpy arrays are unchanged.

        Args:
            *args: the device, and for torch tensors further arguments.
            **kwargs: the same by keyword.
        """
        for name, value in self.data.items():
            self.data[name] = _moved(value, args, kwargs)
        return self


def _moved(value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    framework = framework_of(value)
    if framework == "pt":
        if value.is_floating_point():
            return value.to(*args, **kwargs)
        # An integer tensor changes device but keeps its dtype: ids do not survive half precision.
        args = tuple(arg for arg in args if not isinstance(arg, _torch().dtype))
        kwargs = {key: arg for key, arg in kwargs.items() if key != "dtype"}
        return value.to(*args, **kwargs) if args or kwargs else value
    device = kwargs.get("device", args[0] if args else None)
    if framework == "jax":
        import jax

        return jax.device_put(value, jax.devices(device)[0] if isinstance(device, str) else device)
    if framework == "tf":
        import tensorflow as tf

        with tf.device(device):
            return tf.identity(value)
    return value


def _first_leaf(value: Any) -> Any:
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return value


def _torch_from_numpy(array: np.ndarray) -> Any:
    torch = _torch()
    array = np.require(array, requirements=["C", "W"])  # torch cannot wrap read-only memory, such as TensorFlow's
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _tf_from_numpy(array: np.ndarray) -> Any:
    import tensorflow as tf

    return tf.convert_to_tensor(array)


def _jax_from_numpy(array: np.ndarray) -> Any:
    import jax.numpy as jnp

    return jnp.asarray(array)


_FROM_NUMPY = {"pt": _torch_from_numpy, "tf": _tf_from_numpy, "jax": _jax_from_numpy}


def _torch() -> Any:
    import torch

    return torch
