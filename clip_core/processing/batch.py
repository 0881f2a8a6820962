"""Named arrays in the caller's framework, as tokenizers, image processors and processors return them. Internal.

The frameworks are those of `clip_core.processing.frameworks`; each is imported only by a call that requests it.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from clip_core.processing.frameworks import NUMPY, broken, by_name, by_package

TensorType = str  # a framework's name in `return_tensors`, such as "np"

_RAGGED = "the rows differ in length; pass padding=True (and truncation=True) to make them one tensor"


def framework_of(value: object) -> TensorType | None:
    """Return the name of the framework that an array belongs to, or None if the value is not an array.

    Args:
        value: any object.
    """
    if not (hasattr(value, "shape") and hasattr(value, "dtype")):
        return None
    package = type(value).__module__.partition(".")[0]
    if package in NUMPY.packages:
        return NUMPY.name
    framework = by_package().get(package)
    return None if framework is None else framework.name


def to_numpy(value: Any) -> np.ndarray:
    """Convert an array of any framework, on any device, or a nested list, to numpy.

    Args:
        value: the array or list.

    Raises:
        ValueError: if the rows of a list differ in length.
    """
    name = framework_of(value)
    if name is not None and name != NUMPY.name:
        array: np.ndarray = by_name()[name].to_numpy(value)
        return array
    if isinstance(value, list | tuple) and any(framework_of(item) for item in value):
        value = [to_numpy(item) for item in value]
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(_RAGGED) from error


def to_lists(value: Any) -> Any:
    """Convert an array of any framework, or lists of arrays, to nested lists.

    Args:
        value: the array or list; anything else is returned as it is.
    """
    if framework_of(value):
        return to_numpy(value).tolist()
    return [to_lists(item) for item in value] if isinstance(value, list | tuple) else value


def read_columns(encoded_inputs: Any, ids: str = "input_ids") -> tuple[dict[str, Any], bool, TensorType | None]:
    """Convert an encoding's columns to lists.

    Args:
        encoded_inputs: the columns of one row or of a batch, as lists or arrays; or a list of rows, each a dict.
        ids: the name of the column of ids.

    Returns:
        The columns, each a list of rows; True if the input was a batch; the framework of the ids, if any.

    Raises:
        ValueError: if there are no ids, or the columns differ in their number of rows.
    """
    if isinstance(encoded_inputs, Mapping):
        columns = dict(encoded_inputs)
    elif encoded_inputs and all(isinstance(row, Mapping) for row in encoded_inputs):
        columns = {name: [row[name] for row in encoded_inputs] for name in encoded_inputs[0]}
    else:
        raise ValueError("expected a dict of columns or a non-empty list of dicts to pad")
    if ids not in columns:
        raise ValueError(f"the columns to pad must include {ids}; found {', '.join(columns) or 'none'}")
    frameworks = {framework_of(columns[ids]), *map(framework_of, columns[ids][:1])} - {None}
    columns = {name: to_lists(value) for name, value in columns.items()}
    is_batch = not columns[ids] or isinstance(columns[ids][0], list)
    if not is_batch:
        columns = {name: [value] for name, value in columns.items()}
    counts = {name: len(value) for name, value in columns.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"the columns differ in their number of rows: {counts}")
    return columns, is_batch, next(iter(frameworks), None)


def to_tensor(value: Any, tensor_type: TensorType) -> Any:
    """Convert an array or nested lists to an array of a framework.

    Dtypes are kept, with two exceptions: Python floats become float32 in all frameworks but numpy, and JAX converts
    64-bit numbers to 32 bits.

    Args:
        value: the array or lists.
        tensor_type: the framework's name in `return_tensors`.

    Raises:
        ValueError: if the framework is unknown, the rows differ in length, or the values are not numbers.
        ImportError: if the framework is not installed.
    """
    tensor_type = check_tensor_type(tensor_type)
    if framework_of(value) == tensor_type:
        return value
    array = to_numpy(value)
    if array.dtype == object:
        raise ValueError(_RAGGED)
    if array.dtype.kind in "US":
        raise ValueError("strings cannot be stored in tensors; omit return_tensors")
    if tensor_type == NUMPY.name:
        return array
    if array.dtype == np.float64 and isinstance(_first_leaf(value), float):
        array = array.astype(np.float32)
    return by_name()[tensor_type].from_numpy(array)


def check_tensor_type(tensor_type: object) -> TensorType:
    """Return a value of `return_tensors` as a string, after checking it.

    Args:
        tensor_type: a framework's name, or an enum whose value is one.

    Raises:
        ValueError: if no installed backend has this name for its arrays.
    """
    name = getattr(tensor_type, "value", tensor_type)
    if name == NUMPY.name:
        return NUMPY.name
    if name not in by_name():
        failed = "".join(f"; the backend {backend!r} cannot be used: {why}" for backend, why in broken().items())
        raise ValueError(
            f"return_tensors={tensor_type!r} is unknown; choose from {', '.join(by_name())} or None{failed}"
        )
    return str(name)


class BatchFeature(UserDict[str, Any]):
    """Named arrays: a dict whose keys are attributes too.

    Args:
        data: the arrays by name.
        tensor_type: convert them to the arrays of this framework.

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
        # Called only for names that are not attributes. `data` itself is missing while an object is being unpickled.
        if name != "data" and name in self.data:
            return self.data[name]
        raise AttributeError(
            f"{type(self).__name__} has no {name!r}; it contains {', '.join(self.__dict__.get('data', ()))}"
        )

    def convert_to_tensors(self, tensor_type: TensorType | None = None) -> Self:
        """Convert every value to a framework's arrays, in place.

        Args:
            tensor_type: the framework's name in `return_tensors`; None changes nothing.

        Returns:
            The batch itself.

        Raises:
            ValueError: if the framework is unknown, or a value cannot be converted.
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

        The device is named as in the framework of the arrays, by a string or an object. PyTorch takes all arguments of
        `torch.Tensor.to`; a dtype changes only floating-point tensors. Numpy arrays are not changed.

        Args:
            *args: the device.
            **kwargs: the device as `device`, instead.

        Returns:
            The batch itself.
        """
        for name, value in self.data.items():
            framework = framework_of(value)
            if framework is not None and framework != NUMPY.name:
                self.data[name] = by_name()[framework].move(value, args, kwargs)
        return self


def _first_leaf(value: Any) -> Any:
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return value
