"""PyTorch's tensors, for processors. Internal; read without importing `clip_torch` or torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from clip_core.processing import Framework


def from_numpy(array: np.ndarray) -> Any:
    """Convert a numpy array to a tensor.

    Args:
        array: any shape, and any dtype of torch, including bfloat16.
    """
    import torch

    array = np.require(array, requirements=["C", "W"])  # torch cannot use read-only memory, such as TensorFlow's
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def to_numpy(tensor: Any) -> np.ndarray:
    """Convert a tensor on any device to numpy, including bfloat16.

    Args:
        tensor: any shape and dtype.
    """
    import torch

    tensor = tensor.detach().cpu()
    if tensor.dtype != torch.bfloat16:
        return np.asarray(tensor)
    import ml_dtypes

    return np.asarray(tensor.view(torch.int16)).view(ml_dtypes.bfloat16)


def move(tensor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Move a tensor to a device; only floating-point tensors change their dtype.

    Args:
        tensor: the tensor.
        args: positional arguments of `torch.Tensor.to`.
        kwargs: its keyword arguments.
    """
    import torch

    if not tensor.is_floating_point():  # half precision cannot represent ids
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
