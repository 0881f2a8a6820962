"""How thorough a run is, and where it works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class UnavailableError(RuntimeError):
    """A row needs what this machine does not have."""


@dataclass(frozen=True)
class Settings:
    """What every row is given.

    Attributes:
        scratch: a folder for checkpoints, gone afterwards.
        quick: check that all runs, on small models and few turns; the times then say nothing.
        budget: seconds for the turns of one case, all libraries together.
    """

    scratch: Path
    quick: bool = False
    budget: float = 60.0
