"""Attention as every backend defines it: the masks, and the choice of an implementation.

Masks. The text tower is causal, and its batch may be padded. Implementations that add a bias to the scores add one for
each of these two masks, as transformers 4.57.6 does in PyTorch: the lowest finite value of the dtype at every masked
key. A key that both masks exclude gets -inf.

Queries that see no key. Every token up to such a query is padding, as at the start of a left-padded text and in a row
of nothing but padding. In transformers, the lowest value is added to all scores of such a query. The sum rounds to that
value, so the query attends uniformly to the keys masked only once, including its own. Fused kernels compute the
gradient of such scores wrongly, by a factor of up to the number of keys. Every backend therefore gives these queries
scores of zero, and a bias of zero for the keys masked only once. The outputs equal those of transformers, no row of
scores is all -inf, and no gradient reaches the query or the keys, because these scores are constant. The queries are
zeroed rather than the scores, because fused kernels compute the scores internally.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from clip_core.backends import backend_packages
from clip_core.processing.frameworks import by_backend

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_IMPLEMENTATION = "sdpa"

_warned: set[str] = set()


def known_implementation(name: str | None, known: Sequence[str]) -> str:
    """Return the attention implementation of a name; None is the default, `sdpa`.

    Args:
        name: the requested name.
        known: names of the backend's implementations.

    Raises:
        ValueError: if no implementation has this name.
    """
    if name is None:
        return DEFAULT_IMPLEMENTATION
    if name not in known:
        declared = {package: by_backend().get(backend) for backend, package in backend_packages().items()}
        elsewhere = [package for package, its in declared.items() if its and name in its.attention_implementations]
        hint = f"; it is available in {', '.join(elsewhere)}" if elsewhere else ""
        raise ValueError(
            f'Specified `attn_implementation="{name}"` is not supported; choose from {", ".join(known)}{hint}'
        )
    return name


def implementation_of_call(name: str, *, output_attentions: bool, warns: bool = True) -> str:
    """Return the attention implementation of a call: `eager`, with one warning, if it returns the attention weights.

    Args:
        name: the configured implementation.
        output_attentions: True if the call returns the attention weights.
        warns: False where a compiler traces the call.
    """
    if not output_attentions:
        return name
    if warns:
        warn_of_eager(name)
    return "eager"


def warn_of_eager(name: str) -> None:
    """Warn, once per implementation other than `eager`, that only `eager` can return attention weights.

    Args:
        name: the implementation.
    """
    if name == "eager" or name in _warned:
        return
    _warned.add(name)
    warnings.warn(
        f"attn_implementation={name!r} cannot return attention weights; eager attention is used wherever "
        "output_attentions=True. Pass attn_implementation='eager' to silence this.",
        stacklevel=3,
    )
