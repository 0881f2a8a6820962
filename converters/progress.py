"""A progress bar on stderr for long operations, on a terminal only."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FROM = 2 * 10**8  # bytes


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[int], object]]:
    """Show a bar over `total` bytes, and yield a function that advances it by a number of bytes."""
    if total < _FROM:
        yield lambda _: None
        return
    from tqdm import tqdm  # importing it takes longer than reading a small checkpoint

    with tqdm(total=total, unit="B", unit_scale=True, desc=what, disable=None) as bar:
        yield bar.update
