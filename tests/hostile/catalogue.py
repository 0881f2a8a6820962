"""The catalogue of hostile files: what each is named, how it is made, how it is read, and the error it should give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECONDS, MEGABYTES = 2.0, 200.0  # for each file, over what the process took before

LONGEST_MESSAGE = 1000


@dataclass(frozen=True)
class Hostile:
    """A hostile file.

    Attributes:
        name: what is wrong with it.
        make: writes the file into a folder, and returns its path.
        error: the name of the error's class; "" for a file that is read without harm.
        read: the function of `reading.READERS` that reads it.
        megabytes: the memory that it may take.
    """

    name: str
    make: Callable[[Path], Path]
    error: str = "CheckpointError"
    read: str = "checkpoint"
    megabytes: float = MEGABYTES


def catalogue() -> dict[str, list[Hostile]]:
    """Return the groups of hostile files by name; each group is read in a process of its own."""
    from hostile import datasets, formats, hdf5, images, pickles, settings

    return {
        "pickle": pickles.FILES,
        "HDF5": hdf5.FILES,
        "other formats": formats.FILES,
        "settings": settings.FILES,
        "images": images.FILES,
        "datasets": datasets.FILES,
    }
