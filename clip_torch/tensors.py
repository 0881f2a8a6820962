"""Tensors of a model: values of its inputs, entries for the converters, and the dtype and device of a load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from clip_torch.arrays import to_numpy
from converters.tensors import TensorEntry

if TYPE_CHECKING:
    import numpy as np


def known_values(tensor: Tensor | None) -> np.ndarray | None:
    """Return the values of an input; None if they are not on the CPU, or a compiler or transformation hides them."""
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
    """Wrap a tensor for the converters, which copy it to the CPU only to write it."""
    carrier = torch.empty(0, dtype=tensor.dtype)
    return TensorEntry(tuple(tensor.shape), to_numpy(carrier).dtype, lambda: to_numpy(tensor.contiguous()))


def check_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """Return a floating-point dtype, given as a dtype or by name.

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
        ValueError: it is not a device, the device is missing, or it would split the model over several devices.
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
        reason = str(error).partition("\n")[0].partition(". ")[0]  # the rest is a list of PyTorch's backends
        raise ValueError(f"device_map={device!r} is not available ({reason}); give 'cpu' or 'auto'") from error
    return found


def device_of_context() -> torch.device:
    """Return PyTorch's default device, onto which models are loaded.

    Raises:
        RuntimeError: it is the meta device, which stores no values.
    """
    device = torch.empty(0).device
    if device.type == "meta":
        raise RuntimeError(
            "You are using `from_pretrained` with a meta device context manager or `torch.set_default_device('meta')`, "
            "which stores no weights; leave it first, or pass device_map='meta'"
        )
    return device


def _roomiest_device() -> torch.device:
    if torch.cuda.is_available():
        free = [torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())]
        return torch.device("cuda", free.index(max(free)))
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator or torch.device("cpu")
