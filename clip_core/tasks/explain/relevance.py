"""Relevance from attention and its gradients: two methods, and the attention itself as a baseline. All in numpy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_core.tasks.explain.gradients import LayerAttention


def chefer(layers: Sequence[LayerAttention]) -> np.ndarray:
    """Return the relevance of each token to each state: `(texts, states, tokens)` (Chefer, Gur and Wolf 2021).

    A state starts with itself as its only source. Each layer adds to a state the sources of the states that it attends
    to, weighted by attention times gradient where their product is positive, averaged over heads.

    Args:
        layers: the layers, in the order of computation.
    """
    texts, _, seq, _ = layers[0].probabilities.shape
    relevance = np.broadcast_to(np.eye(seq), (texts, seq, seq))
    for probabilities, gradients in layers:
        averaged = np.maximum(gradients.astype(np.float64) * probabilities, 0).mean(axis=1)  # (texts, seq, seq)
        relevance = relevance + averaged @ relevance
    return relevance


def legrad(layers: Sequence[LayerAttention]) -> np.ndarray:
    """Return the relevance of each token: `(texts, tokens)` (LeGrad, Bousselham et al. 2024).

    It is the positive part of the gradients, averaged over heads and queries, and summed over layers.

    Args:
        layers: the layers.
    """
    found = [np.maximum(layer.gradients.astype(np.float64), 0).mean(axis=(1, 2)) for layer in layers]
    total: np.ndarray = np.sum(found, axis=0)
    return total


def attention(layers: Sequence[LayerAttention]) -> np.ndarray:
    """Return the attention of the last layer averaged over heads: `(texts, queries, tokens)`. It ignores the texts.

    Args:
        layers: the layers.
    """
    mean: np.ndarray = layers[-1].probabilities.astype(np.float64).mean(axis=1)
    return mean


def image_maps(relevance: np.ndarray) -> np.ndarray:
    """Return the relevance of patches as maps `(texts, rows, columns)`, each scaled from 0 to 1.

    Args:
        relevance: `(texts, 1 + patches)`, the class token first.
    """
    patches = relevance[:, 1:]
    side = math.isqrt(patches.shape[1])
    return min_max(patches.reshape(len(patches), side, -1))


def min_max(maps: np.ndarray) -> np.ndarray:
    """Scale each map `(texts, rows, columns)` from 0 to 1; a constant one becomes zeros.

    Args:
        maps: the maps.
    """
    lowest, highest = (limit(maps, axis=(1, 2), keepdims=True) for limit in (np.min, np.max))
    spread = highest - lowest
    scaled: np.ndarray = (maps - lowest) / np.where(spread > 0, spread, 1)
    return scaled


def upsampled(maps: np.ndarray, factor: int) -> np.ndarray:
    """Return maps `(texts, rows, columns)` enlarged by a factor, bilinearly between the centres of patches.

    Args:
        maps: the maps.
        factor: the pixels of a patch's side.
    """
    down, across = (_bilinear(size, factor) for size in maps.shape[1:])
    found: np.ndarray = np.einsum("yr,xc,trc->tyx", down, across, maps)
    return found


def _bilinear(size: int, factor: int) -> np.ndarray:
    """Return the share `(size * factor, size)` of patches for each pixel, clamped at the outer centres."""
    centres = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
    matrix: np.ndarray = np.maximum(1 - np.abs(centres[:, None] - np.arange(size)), 0)
    return matrix


def shares(relevance: np.ndarray) -> np.ndarray:
    """Return the relevance of words `(words,)` as shares that sum to 1; equal ones if no word is relevant.

    Args:
        relevance: `(words,)`, not negative.
    """
    total = relevance.sum()
    found: np.ndarray = relevance / total if total > 0 else np.full(len(relevance), 1 / max(len(relevance), 1))
    return found
