"""Which attention implementation a tower takes, and what is said where it cannot do what is asked."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_IMPLEMENTATION = "sdpa"
FLASH_ATTENTION = "flash_attention_2"

_warned: set[str] = set()


def known_implementation(name: str | None, known: Sequence[str]) -> str:
    """The attention implementation by name; None is the default, `sdpa`.

    Args:
        name: what was asked for.
        known: the names of the backend's.

    Raises:
        ValueError: no implementation has this name.
    """
    if name is None:
        return DEFAULT_IMPLEMENTATION
    if name not in known:
        elsewhere = "; FlashAttention 2 is in clip_torch alone" if name == FLASH_ATTENTION else ""
        raise ValueError(f"attn_implementation={name!r} is not known; it is one of {', '.join(known)}{elsewhere}")
    return name


def warn_of_eager(name: str) -> None:
    """Say once for each implementation but `eager` that only `eager` can return the attention weights."""
    if name == "eager" or name in _warned:
        return
    _warned.add(name)
    warnings.warn(
        f"attn_implementation={name!r} cannot return attention weights; eager attention is used wherever "
        "output_attentions=True. Pass attn_implementation='eager' to silence this.",
        stacklevel=3,
    )
