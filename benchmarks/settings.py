"""Run settings: thoroughness and scratch folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class UnavailableError(RuntimeError):
    """An error for a row that needs something this machine lacks."""


@dataclass(frozen=True)
class Settings:
    """The settings passed to every row.

    Attributes:
        scratch: a temporary folder for checkpoints.
        quick: only check that everything runs, on small models with few turns. The times then mean nothing.
        budget: seconds for the turns of one case, all libraries together.
        clients: the only number of clients that row 13 measures; None for all.
    """

    scratch: Path
    quick: bool = False
    budget: float = 60.0
    clients: int | None = None
