"""The optimizer's moments beside a checkpoint, by canonical name: training can resume in any framework."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from converters.formats import safetensors

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import numpy as np

    from converters.tensors import TensorEntry

MOMENTS_NAME = "optimizer.safetensors"


def write_moments(folder: str | os.PathLike[str], moments: Mapping[str, TensorEntry]) -> None:
    """Write moments, such as `exp_avg.logit_scale`, into a new folder; see `new_folder`."""
    safetensors.write(Path(folder) / MOMENTS_NAME, moments)


def read_moments(folder: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Return the moments in a folder.

    Raises:
        FileNotFoundError: the folder has no moments.
        ValueError: the file is damaged.
    """
    path = Path(folder) / MOMENTS_NAME
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no {MOMENTS_NAME}; training cannot resume from it")
    try:
        return {name: entry.load() for name, entry in safetensors.read(path).items()}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
