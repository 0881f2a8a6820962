"""Embedding sizes: the new size of a token embedding, and bicubic interpolation of positions as a matrix."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from clip_core.configuration.arguments import check_integers

if TYPE_CHECKING:
    from clip_core.configuration import CLIPTextConfig


_A = -0.75


def bicubic_matrix(size: int, new_size: int) -> np.ndarray:
    """Return the interpolation weights `(new_size, size)`, float64, from `size` to `new_size` positions.

    Args:
        size: number of old positions.
        new_size: number of new positions.
    """
    centres = (np.arange(new_size) + 0.5) * size / new_size - 0.5  # in old coordinates
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


def new_vocab_size(current: int, new_num_tokens: int | None, pad_to_multiple_of: int | None) -> int:
    """Return the requested number of tokens, rounded up to a multiple.

    Args:
        current: the current number.
        new_num_tokens: the requested number; None for `current`.
        pad_to_multiple_of: the multiple; None for no rounding.

    Raises:
        ValueError: if no token would be left, or the multiple is not a positive integer.
    """
    check_integers(new_num_tokens=(new_num_tokens, 0), pad_to_multiple_of=(pad_to_multiple_of, 1), optional=True)
    count = current if new_num_tokens is None else new_num_tokens
    if pad_to_multiple_of is not None:
        count = -(-count // pad_to_multiple_of) * pad_to_multiple_of
    if count < 1:
        raise ValueError(f"new_num_tokens={new_num_tokens} leaves no tokens; give 1 or more")
    return count


def warn_of_legacy_pooling(config: CLIPTextConfig, current: int, count: int) -> None:
    """Warn if tokens are added to a model that pools at the largest id: their ids are larger than that of EOS.

    Args:
        config: the text tower's configuration.
        current: number of tokens before.
        count: number of tokens now.
    """
    if count > current and config.pools_at_largest_id:
        warnings.warn(
            f"with eos_token_id={config.eos_token_id}, the text tower pools at the largest id, and added tokens have "
            "larger ids than EOS; set it to tokenizer.eos_token_id, or texts with added tokens get wrong embeddings",
            stacklevel=3,
        )
