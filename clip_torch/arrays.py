"""Conversion between numpy and torch, and PyTorch's tensors for processors. Internal.

It is read without importing `clip_torch` or torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clip_core.processing import Framework

# Dtypes that numpy has only through ml_dtypes, by torch's name too -> the integer of their width that carries them.
_CARRIERS = {"bfloat16": "uint16", "float8_e4m3fn": "uint8", "float8_e5m2": "uint8"}


def from_numpy(array: np.ndarray) -> Any:
    """Convert a numpy array to a tensor.

    Args:
        array: any shape, and any dtype of torch, including bfloat16.
    """
    import torch

    # torch cannot use read-only memory, such as TensorFlow's
    array = np.require(array, requirements=["C", "W"])
    return to_torch(array) if array.dtype.name in _CARRIERS else torch.from_numpy(array)


def to_torch(array: np.ndarray) -> Any:
    """Return an array as a CPU tensor that shares its memory.

    Args:
        array: any shape, and any dtype of torch, including bfloat16 and the 8-bit ones.
    """
    import torch

    name = array.dtype.name
    if name in _CARRIERS:
        return torch.from_numpy(array.view(_CARRIERS[name])).view(getattr(torch, name))
    return torch.from_numpy(array)


def to_numpy(tensor: Any) -> np.ndarray:
    """Return a tensor on any device as an array, which shares its memory if the tensor is on the CPU.

    Args:
        tensor: any shape, and any dtype, including bfloat16 and the 8-bit ones.
    """
    import torch

    tensor = tensor.detach().cpu()
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in _CARRIERS:
        array: np.ndarray = tensor.numpy()
        return array
    import ml_dtypes

    carried: np.ndarray = tensor.view(getattr(torch, _CARRIERS[name])).numpy()
    return carried.view(getattr(ml_dtypes, name))


def move(tensor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Move a tensor to a device; only floating-point tensors change their dtype.

    Args:
        tensor: the tensor.
        args: positional arguments of `torch.Tensor.to`.
        kwargs: its keyword arguments.
    """
    import torch

    if not tensor.is_floating_point():  # half precision cannot represent all ids
        args = tuple(arg for arg in args if not isinstance(arg, torch.dtype))
        kwargs = {key: arg for key, arg in kwargs.items() if key != "dtype"}
    return tensor.to(*args, **kwargs) if args or kwargs else tensor


framework = Framework(
    name="pt",
    packages=frozenset({"torch"}),
    from_numpy=from_numpy,
    to_numpy=to_numpy,
    move=move,
    is_default=True,
    attention_implementations=("eager", "sdpa", "flash_attention_2"),
)
