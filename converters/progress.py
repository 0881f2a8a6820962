"""A bar on stderr for what takes long: only on a terminal, and not for what is over before it is read."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FROM = 2 * 10**8  # bytes


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[int], object]]:
    """A bar over `total` bytes; gives the function that moves it by so many."""
    if total < _FROM:
        yield lambda _: None
        return
    from tqdm import tqdm  # which takes longer to import than a small checkpoint to read

    with tqdm(total=total, unit="B", unit_scale=True, desc=what, disable=None) as bar:
        yield bar.update
