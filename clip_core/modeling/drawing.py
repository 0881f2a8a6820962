"""Models created without drawing random weights, as their weights come from a checkpoint.

Backends that create a model and its weights together ask here. Flax has the choice among its arguments: keys, or none.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_draws: ContextVar[bool] = ContextVar("_draws", default=True)


@contextmanager
def without_drawing() -> Iterator[None]:
    """Create layers with arbitrary weights in this block."""
    token = _draws.set(False)
    try:
        yield
    finally:
        _draws.reset(token)


def is_drawing() -> bool:
    """Return True unless layers are created without drawing."""
    return _draws.get()
