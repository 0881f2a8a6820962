"""Conversion between numpy and torch, without a copy if memory can be shared."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch import Tensor

from converters.tensors import TensorEntry

# Dtypes that numpy has only through ml_dtypes are passed as integers of their width.
_EXTENSION_DTYPES = {
    np.dtype(ml_dtypes.bfloat16): (np.uint16, torch.bfloat16),
    np.dtype(ml_dtypes.float8_e4m3fn): (np.uint8, torch.float8_e4m3fn),
    np.dtype(ml_dtypes.float8_e5m2): (np.uint8, torch.float8_e5m2),
}
_NUMPY_DTYPES = {torch_dtype: (carrier, dtype) for dtype, (carrier, torch_dtype) in _EXTENSION_DTYPES.items()}


def to_torch(array: np.ndarray) -> Tensor:
    """Return an array as a CPU tensor that shares its memory."""
    if array.dtype in _EXTENSION_DTYPES:
        carrier, dtype = _EXTENSION_DTYPES[array.dtype]
        return torch.from_numpy(array.view(carrier)).view(dtype)
    return torch.from_numpy(array)


def to_numpy(tensor: Tensor) -> np.ndarray:
    """Return a tensor as an array, which shares its memory if the tensor is on the CPU."""
    tensor = tensor.detach().cpu()
    if tensor.dtype in _NUMPY_DTYPES:
        carrier, dtype = _NUMPY_DTYPES[tensor.dtype]
        return tensor.view(getattr(torch, np.dtype(carrier).name)).numpy().view(dtype)
    return tensor.numpy()


def known_values(tensor: Tensor | None) -> np.ndarray | None:
    """Return the values of an input; None if a compiler or transformation hides them, or they are not on the CPU."""
    if torch.compiler.is_compiling() or type(tensor) is not Tensor:
        return None
    if torch.jit.is_tracing():  # type: ignore[attr-defined]  # documented, but not exported by name
        return None
    if tensor.device.type != "cpu":
        return None
    try:
        return tensor.numpy()
    except (RuntimeError, TypeError):  # inside torch.vmap, which cannot be detected otherwise; or numpy lacks the dtype
        return None


def to_entry(tensor: Tensor) -> TensorEntry:
    """Wrap a tensor for the converters, which copy it to the CPU only when they write it."""
    carrier = torch.empty(0, dtype=tensor.dtype)
    return TensorEntry(tuple(tensor.shape), to_numpy(carrier).dtype, lambda: to_numpy(tensor.contiguous()))


def check_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """Return a floating-point dtype, given as such or by name.

    Raises:
        ValueError: there is no such dtype, or it is not a floating-point dtype.
    """
    name = dtype.removeprefix("torch.") if isinstance(dtype, str) else dtype
    found = getattr(torch, name, None) if isinstance(name, str) else name
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(f"dtype={dtype!r} is not a floating-point dtype; give float32, float16, bfloat16 or 'auto'")
    return found


def check_device(device: Any) -> torch.device:
    """Return the device of a `device_map`: a device, its name or index, {"": device}, or "auto".

    Raises:
        ValueError: it is not a device, the device is missing, or the model would be split over several.
    """
    if isinstance(device, dict):
        if set(device) != {""}:
            raise ValueError(
                f"device_map={device!r} splits the model over devices, which is not supported; give a single device"
            )
        device = device[""]
    if device == "auto":
        return _roomiest_device()
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device_map={device!r} is not a device; give 'cpu', 'cuda', 'cuda:1' or 'auto'") from error
    try:
        torch.empty(0, device=found)
    except (AssertionError, ImportError, RuntimeError) as error:  # each kind of device raises its own error
        reason = str(error).partition("\n")[0].partition(". ")[0]  # PyTorch goes on with a list of its backends
        raise ValueError(f"device_map={device!r} is not available ({reason}); give 'cpu' or 'auto'") from error
    return found


def device_of_context() -> torch.device:
    """Return PyTorch's default device, to which a model is loaded.

    Raises:
        RuntimeError: it is the meta device, which holds no values.
    """
    device = torch.empty(0).device
    if device.type == "meta":
        raise RuntimeError(
            "You are using `from_pretrained` with a meta device context manager or `torch.set_default_device('meta')`, "
            "which keeps no weights; leave it first, or pass device_map='meta'"
        )
    return device


def _roomiest_device() -> torch.device:
    if torch.cuda.is_available():
        free = [torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())]
        return torch.device("cuda", free.index(max(free)))
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator or torch.device("cpu")
