"""FlashAttention 2 (Dao 2023): the flash-attn package, or PyTorch's own build of the same kernels.

The package is used if it is installed. Otherwise, full batches use the flash kernel behind
`scaled_dot_product_attention`, and padded batches use `torch.nn.attention.varlen.varlen_attn`, which needs PyTorch 2.10
and does not support dropout.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable

FLASH_ATTENTION = "flash_attention_2"
_REQUESTED = f"attn_implementation={FLASH_ATTENTION!r}"
_ALIGNMENT = 8  # PyTorch's kernels need a head size that is a multiple of this; flash-attn pads heads itself
_MAX_HEAD_DIM = 256
_MIN_CAPABILITY = (8, 0)  # Ampere


class Kernels(NamedTuple):
    """The kernels in this environment; None for missing ones."""

    package_full: Callable[..., Tensor] | None
    package_varlen: Callable[..., Tensor] | None
    torch_varlen: Callable[..., Any] | None
    takes_scale: bool  # torch_varlen takes a scale, and a window instead of `is_causal`: from PyTorch 2.11


_found: Kernels | None = None


def kernels() -> Kernels:
    """Return the kernels, searching for them only once. An installed flash-attn that cannot be imported is ignored."""
    global _found  # noqa: PLW0603  torch.compile treats a global as a constant, but warns about functools.cache
    if _found is None:
        try:
            from flash_attn import flash_attn_func, flash_attn_varlen_func
        except (ImportError, OSError):
            flash_attn_func = flash_attn_varlen_func = None
        try:
            from torch.nn.attention.varlen import varlen_attn
        except ImportError:
            _found = Kernels(flash_attn_func, flash_attn_varlen_func, None, takes_scale=False)
        else:
            takes_scale = "window_size" in inspect.signature(varlen_attn).parameters
            _found = Kernels(flash_attn_func, flash_attn_varlen_func, varlen_attn, takes_scale)
    return _found


def flash_full(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool, scale: float, dropout: float) -> Tensor:
    """Attend within sequences of equal length.

    Args:
        query: `(batch, seq, heads, head_dim)`, float16 or bfloat16, on a CUDA device.
        key: like `query`.
        value: like `query`.
        is_causal: mask the keys after each query.
        scale: the factor of the scores.
        dropout: the probability of dropping an attention weight.

    Returns:
        The output, in the shape of `query`.

    Raises:
        ImportError: no kernel is installed.
        ValueError: the kernel does not support these tensors.
    """
    check_flash_attention(query)
    package = kernels().package_full
    if package is not None:
        return package(query, key, value, dropout_p=dropout, softmax_scale=scale, causal=is_causal)
    query, key, value, head_dim = _aligned(query, key, value)
    query, key, value = (states.transpose(1, 2) for states in (query, key, value))  # (batch, heads, seq, head_dim)
    attended = _sdpa_flash(query, key, value, dropout_p=dropout, is_causal=is_causal, scale=scale)
    return attended.transpose(1, 2)[..., :head_dim]


def flash_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cumulative_lengths: Tensor,
    max_length: int,
    *,
    is_causal: bool,
    scale: float,
    dropout: float,
) -> Tensor:
    """Attend within sequences of different lengths, concatenated without padding.

    Args:
        query: `(tokens, heads, head_dim)`, float16 or bfloat16, on a CUDA device.
        key: like `query`.
        value: like `query`.
        cumulative_lengths: `(batch + 1,)` int32, the start of each sequence, then the number of tokens.
        max_length: the length of the longest sequence.
        is_causal: mask the keys after each query.
        scale: the factor of the scores.
        dropout: the probability of dropping an attention weight.

    Returns:
        The output, in the shape of `query`.

    Raises:
        ImportError: no kernel is installed.
        ValueError: the kernel does not support these tensors, or dropout is requested from PyTorch's kernel.
    """
    check_flash_attention(query)
    bounds = (cumulative_lengths, cumulative_lengths, max_length, max_length)
    package = kernels().package_varlen
    if package is not None:
        return package(query, key, value, *bounds, dropout_p=dropout, softmax_scale=scale, causal=is_causal)
    if dropout:
        raise ValueError(
            f"{_REQUESTED} with attention_dropout={dropout} and a padded batch needs the flash-attn package, as "
            "PyTorch's own kernel has no dropout: install flash-attn, set attention_dropout=0, or use 'sdpa'"
        )
    query, key, value, head_dim = _aligned(query, key, value)
    attend, factor = _torch_varlen(query.shape[-1], is_causal=is_causal, scale=scale)
    return attend(query * factor if factor != 1 else query, key, value, *bounds)[..., :head_dim]


def check_flash_attention(query: Tensor) -> None:
    """Check that FlashAttention 2 can run on a tensor `(..., head_dim)`.

    Raises:
        ImportError: neither flash-attn nor PyTorch 2.10 is installed.
        ValueError: the tensor is not on a CUDA device or not in half precision, its heads are too large, or the device
            is too old.
    """
    if query.device.type != "cuda":
        raise ValueError(
            f"{_REQUESTED} needs a CUDA device, but the model is on {query.device}; move it with model.to('cuda'), "
            "or use 'sdpa'"
        )
    if query.dtype not in (torch.float16, torch.bfloat16):
        raise ValueError(
            f"{_REQUESTED} needs float16 or bfloat16, but the model is in {query.dtype}; load it with "
            "dtype=torch.float16, or run it under torch.autocast('cuda')"
        )
    if query.shape[-1] > _MAX_HEAD_DIM:
        raise ValueError(
            f"{_REQUESTED} supports a head size up to {_MAX_HEAD_DIM}, but this model has {query.shape[-1]}; use 'sdpa'"
        )
    if kernels().package_full is None and kernels().torch_varlen is None:
        raise ImportError(
            f"{_REQUESTED} needs PyTorch 2.10 or newer (found {torch.__version__}) or the flash-attn package: "
            "pip install flash-attn --no-build-isolation; or use 'sdpa'"
        )
    if torch.compiler.is_compiling():  # a graph cannot query the driver
        return
    capability = torch.cuda.get_device_capability(query.device)
    if capability < _MIN_CAPABILITY:
        raise ValueError(
            f"{_REQUESTED} needs a GPU of compute capability 8.0 (Ampere) or newer, but {query.device} has "
            f"{'.'.join(map(str, capability))}; use 'sdpa'"
        )


def _aligned(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor, int]:
    """Pad the heads with zeros to the kernels' alignment; also return their original size."""
    head_dim = query.shape[-1]
    missing = -head_dim % _ALIGNMENT
    if missing:
        query, key, value = (F.pad(states, (0, missing)) for states in (query, key, value))
    return query, key, value, head_dim


def _sdpa_flash(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
    """Call the operation behind `scaled_dot_product_attention`'s flash backend.

    The public `sdpa_kernel` selects it through process-wide flags, and so would disable the kernels of a model that
    runs in another thread.
    """
    return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, **options)[0]  # noqa: SLF001


def _torch_varlen(head_dim: int, *, is_causal: bool, scale: float) -> tuple[Callable[..., Tensor], float]:
    """Return PyTorch's kernel for sequences of different lengths, and the factor by which to scale its query."""
    found = kernels()
    assert found.torch_varlen is not None  # noqa: S101  ensured by check_flash_attention
    if found.takes_scale:
        return partial(found.torch_varlen, scale=scale, window_size=(-1, 0 if is_causal else -1)), 1.0
    # PyTorch 2.10 divides by the root of the padded head size.
    return partial(found.torch_varlen, is_causal=is_causal), scale * head_dim**0.5
