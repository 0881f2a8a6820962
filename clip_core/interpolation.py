"""Bicubic interpolation as a matrix, for position embeddings: frameworks differ in theirs, and a matrix is one for all.

The kernel is Keys' with a = -0.75, with half-pixel centres and no antialiasing, and places beyond the edge repeat it:
what `torch.nn.functional.interpolate(mode="bicubic", align_corners=False)` computes (Keys 1981).
"""

from __future__ import annotations

import numpy as np

_A = -0.75


def bicubic_matrix(size: int, new_size: int) -> np.ndarray:
    """The weights `(new_size, size)`, float64, with which values at `size` places make those at `new_size`."""
    centres = (np.arange(new_size) + 0.5) * size / new_size - 0.5  # in the old places
    first = np.floor(centres).astype(int) - 1
    matrix = np.zeros((new_size, size))
    for step in range(4):
        places = first + step
        np.add.at(matrix, (np.arange(new_size), places.clip(0, size - 1)), _kernel(np.abs(centres - places)))
    return matrix


def _kernel(distance: np.ndarray) -> np.ndarray:
    near = ((_A + 2) * distance - (_A + 3)) * distance**2 + 1
    far = (((distance - 5) * distance + 8) * distance - 4) * _A
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
