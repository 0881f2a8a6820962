"""Model creation without random initialization, for weights that come from a checkpoint.

In PyTorch and TensorFlow, a model creates its weights together with its layers, and consults this switch. Flax needs
none: its layers take random keys, or None.
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
    """Skip random initialization in this block: the weights of layers created in it are arbitrary."""
    token = _draws.set(False)
    try:
        yield
    finally:
        _draws.reset(token)


def is_drawing() -> bool:
    """Return True unless `without_drawing` is in effect."""
    return _draws.get()
