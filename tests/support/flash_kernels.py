"""Stand-ins for the kernels of FlashAttention 2 that run on a CPU, in any dtype, one sequence at a time.

They accept exactly the documented arguments of the kernels, so that everything around the kernels is tested without a
GPU.
"""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.attention import varlen

from clip_torch import flash_attention

if TYPE_CHECKING:
    import pytest

KERNELS = ("flash-attn", "torch 2.10", "torch 2.11")


def install(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clip_torch call the stand-ins for some kernels, one of `KERNELS`."""
    monkeypatch.setattr(flash_attention, "check_flash_attention", _check)
    monkeypatch.setattr(flash_attention, "_found", None)
    monkeypatch.setattr(flash_attention, "_sdpa_flash", _sdpa_flash)
    monkeypatch.setattr(varlen, "varlen_attn", _varlen_attn_2_10 if kernels == "torch 2.10" else _varlen_attn_2_11)
    monkeypatch.setitem(sys.modules, "flash_attn", package() if kernels == "flash-attn" else None)


def package() -> types.ModuleType:
    """Return a stand-in for the flash-attn package."""
    module = types.ModuleType("flash_attn")
    module.flash_attn_func, module.flash_attn_varlen_func = _flash_attn_func, _flash_attn_varlen_func
    return module


def _check(query: Tensor) -> None:
    assert query.is_floating_point()


def _attend(q: Tensor, k: Tensor, v: Tensor, scale: float, *, causal: bool) -> Tensor:
    """Attention of `(batch, seq, heads, head_dim)`."""
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * scale
    if causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(hidden, -torch.inf)
    weights = scores.softmax(-1, dtype=torch.promote_types(q.dtype, torch.float32)).to(v.dtype)
    return torch.einsum("bhqk,bkhd->bqhd", weights, v)


def _attend_each(
    q: Tensor, k: Tensor, v: Tensor, lengths: Tensor, longest: int, scale: float, *, causal: bool
) -> Tensor:
    assert lengths.dtype == torch.int32
    assert longest == lengths.diff().max()
    bounds = zip(lengths[:-1].tolist(), lengths[1:].tolist(), strict=True)
    return torch.cat([_attend(q[None, a:b], k[None, a:b], v[None, a:b], scale, causal=causal)[0] for a, b in bounds])


def _flash_attn_func(q: Tensor, k: Tensor, v: Tensor, dropout_p: float, softmax_scale: float, causal: bool) -> Tensor:
    assert dropout_p == 0
    return _attend(q, k, v, softmax_scale, causal=causal)


def _flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float,
    softmax_scale: float,
    causal: bool,
) -> Tensor:
    assert dropout_p == 0
    assert cu_seqlens_q is cu_seqlens_k
    assert max_seqlen_q == max_seqlen_k
    return _attend_each(q, k, v, cu_seqlens_q, max_seqlen_q, softmax_scale, causal=causal)


def _sdpa_flash(
    query: Tensor, key: Tensor, value: Tensor, *, dropout_p: float, is_causal: bool, scale: float
) -> Tensor:
    """Compute the same as `aten::_scaled_dot_product_flash_attention`, of `(batch, heads, seq, head_dim)`."""
    assert dropout_p == 0
    assert query.shape[-1] % 8 == 0
    query, key, value = (states.transpose(1, 2) for states in (query, key, value))
    return _attend(query, key, value, scale, causal=is_causal).transpose(1, 2)


def _varlen_attn_2_10(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    is_causal: bool = False,
) -> Tensor:
    assert query.shape[-1] % 8 == 0
    assert cu_seq_q is cu_seq_k
    assert max_q == max_k
    return _attend_each(query, key, value, cu_seq_q, max_q, query.shape[-1] ** -0.5, causal=is_causal)


def _varlen_attn_2_11(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float,
    window_size: tuple[int, int],
) -> Tensor:
    assert query.shape[-1] % 8 == 0
    assert cu_seq_q is cu_seq_k
    assert max_q == max_k
    assert window_size in {(-1, 0), (-1, -1)}
    return _attend_each(query, key, value, cu_seq_q, max_q, scale, causal=window_size == (-1, 0))
