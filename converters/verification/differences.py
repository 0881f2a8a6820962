"""Gradients of scores by the attention as finite differences, which need no rule of differentiation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.tasks.explain.gradients import LayerAttention, LogitGradients

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from converters.verification.reference import Array
    from converters.verification.scores import Scores

STEP = 1e-5  # of a probe; its square, and the rounding of a logit divided by it, are below 1e-9
AFFORDABLE = 3.2e10  # multiplications for all entries of a layer; the demo model's first layer has 3.1e10
SAMPLED = 0.1  # of them, for the random entries of a layer that has more
FEWEST = 2  # random entries
_AT_ONCE = 32  # entries in a run; each has two rows, one for each sign


def with_differences(
    scores: Scores, by_logit: LogitGradients, by_layer: Sequence[LayerAttention]
) -> tuple[LogitGradients, list[LayerAttention]]:
    """Return gradients in which differences of scores replace derivatives.

    They replace every entry whose attention is not zero, or random entries of a layer for which that takes too long.

    Args:
        scores: the scores of an image with one text.
        by_logit: its `logit_gradients` from the first layers on.
        by_layer: its `layer_gradients` from the first layer on.
    """

    def of_image(index: int, probe: Array) -> Any:
        return scores.logits({index: probe} | dict.fromkeys(range(index + 1, len(by_logit.image))), {})

    def of_text(index: int, probe: Array) -> Any:
        return scores.logits({}, {index: probe} | dict.fromkeys(range(index + 1, len(by_logit.text))))

    vision, text = (_size_of_layer(config) for config in (scores.config.vision_config, scores.config.text_config))
    return LogitGradients(
        _all_replaced(of_image, by_logit.image, vision, later=True),
        _all_replaced(of_text, by_logit.text, text, later=True),
    ), _all_replaced(scores.similarities, by_layer, vision, later=False)


def _all_replaced(
    score: Callable[[int, Array], Any], layers: Sequence[LayerAttention], size: int, *, later: bool
) -> list[LayerAttention]:
    """Replace the gradients of every layer.

    Args:
        score: the score as a function of the number of a layer and its probe.
        layers: the gradients by each layer.
        size: the parameters of a layer.
        later: True if the score also depends on the layers after this one.
    """
    found = []
    for index, layer in enumerate(layers):
        entries = np.argwhere(layer.probabilities[0])
        cost = 2 * layer.probabilities.shape[-1] * size * (len(layers) - index if later else 1)  # of an entry
        if cost * len(entries) > AFFORDABLE:
            count = max(FEWEST, int(SAMPLED * AFFORDABLE / cost))
            entries = np.random.default_rng(index).permutation(entries)[:count]
        gradients = layer.gradients.copy()
        gradients[0, *entries.T] = slopes(partial(score, index), layer.probabilities.shape[1:], entries)
        found.append(layer._replace(gradients=gradients))
    return found


def slopes(score: Callable[[Array], Any], shape: tuple[int, ...], entries: np.ndarray) -> Array:
    """Return the slopes of a score `(entries,)`, by central differences.

    Args:
        score: the score of each row `(rows,)` as a function of a probe `(rows, *shape)`.
        shape: the shape of a probe without rows.
        entries: the places in it to differentiate by: `(entries, len(shape))`.
    """
    found = []
    for some in np.array_split(entries, -(-len(entries) // _AT_ONCE)):
        probe = np.zeros((len(some), *shape))
        probe[np.arange(len(some)), *some.T] = STEP
        above, below = np.split(np.asarray(score(np.concatenate([probe, -probe]))), 2)
        found.append((above - below) / (2 * STEP))
    return np.concatenate(found)


def _size_of_layer(config: Any) -> int:
    """Return the parameters of a layer's matrices."""
    size: int = config.hidden_size * (4 * config.hidden_size + 2 * config.intermediate_size)
    return size
