"""Explanations in numpy and float64, from derivatives and from finite differences of scores.

The methods are written out again here, apart from `clip_core.tasks.explain.relevance`, so that a fault there shows as
well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.tasks.explain.tracing import EXPLAINED_IMAGES, by_differences, explanation_stage
from converters.verification.differences import with_differences
from converters.verification.scores import Scores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from clip_core.configuration import CLIPConfig
    from clip_core.tasks.explain.gradients import LayerAttention, LogitGradients
    from converters.verification.reference import Array, Trace


def explanations(
    checkpoint: Mapping[str, np.ndarray],
    config: CLIPConfig,
    pixel_values: np.ndarray,
    input_ids: np.ndarray,
    attention_mask: np.ndarray,
) -> Trace:
    """Return the stages of `clip_core.tasks.explain.tracing.explanation_stages`.

    The explanations of the first image with the text in the middle are also made from finite differences.

    Args:
        checkpoint: the arrays of a CLIPModel by canonical name.
        config: its configuration.
        pixel_values: `(images, channels, height, width)`.
        input_ids: `(texts, s)`.
        attention_mask: `(texts, s)`, non-zero for tokens to attend to.
    """
    pairs: list[Trace] = []
    for pixels in pixel_values[:EXPLAINED_IMAGES]:
        for ids, mask in zip(input_ids, attention_mask, strict=True):
            # One text at a time, because a graph of float64 arrays is large.
            scores = Scores(checkpoint, config, pixels[None], ids[None], mask[None])
            by_logit = scores.logit_gradients(first_image_layer=0, first_text_layer=0)
            by_layer = scores.layer_gradients(first_layer=0)
            if len(pairs) == len(input_ids) // 2:
                differences = _explanation(*with_differences(scores, by_logit, by_layer), scores.eos[0])
            pairs.append(_explanation(by_logit, by_layer, scores.eos[0]))
    texts = len(input_ids)
    found = {
        stage: np.stack([pair[stage] for pair in pairs]).reshape(-1, texts, *array.shape)
        for stage, array in pairs[0].items()
    }
    return found | {by_differences(stage): array[None, None] for stage, array in differences.items()}


def _explanation(by_logit: LogitGradients, by_layer: Sequence[LayerAttention], eos: int) -> Trace:
    """Return the stages of an image with one text, without the axes of images and texts."""
    found: Trace = {}
    for index, row in _rolled_up(by_logit.image, 0):
        found[explanation_stage("chefer", "vision", index)] = _heatmap(row)
    of_patches = 0.0
    for index in reversed(range(len(by_layer))):
        of_patches = of_patches + np.maximum(by_layer[index].gradients[0], 0).mean(axis=(0, 1))
        found[explanation_stage("legrad", "vision", index)] = _heatmap(of_patches)
    for index, row in _rolled_up(by_logit.text, eos):
        shares = np.zeros_like(row)
        words = row[1:eos]
        shares[1:eos] = words / words.sum() if words.any() else 1 / max(len(words), 1)
        found[explanation_stage("chefer", "text", index)] = shares
    return found


def _rolled_up(layers: Sequence[LayerAttention], query: int) -> Iterator[tuple[int, Array]]:
    """Yield each layer from the last to the first, with the relevance `(s,)` to a query of all tokens at its input.

    This is the query's row of (I + A_n) ... (I + A_i), where A is relu(gradient * attention), averaged over heads.
    """
    row = np.zeros(layers[0].probabilities.shape[-1])
    row[query] = 1
    for index in reversed(range(len(layers))):
        products = layers[index].gradients[0] * layers[index].probabilities[0]
        row = row + row @ np.maximum(products, 0).mean(axis=0)
        yield index, row


def _heatmap(of_tokens: Any) -> Array:
    """Return the relevance of the patches `(rows, columns)`, from 0 to 1; the class token comes first."""
    patches = of_tokens[1:] - of_tokens[1:].min()
    heatmap: Array = (patches / (patches.max() or 1)).reshape(int(len(patches) ** 0.5), -1)
    return heatmap
