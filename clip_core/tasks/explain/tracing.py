"""Explanations as stages of a run, which `clip-zoo verify --explain` compares across frameworks.

A stage is what a method gives from one start layer on. Those of the last layer come first, in the order in which
gradients are computed: the first stage to drift is that of the layer at fault.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.modeling.trimming import pooled_positions
from clip_core.tasks.explain import relevance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from clip_core.configuration import CLIPConfig
    from clip_core.tasks.explain.gradients import LayerAttention, LogitGradients

EXPLAINED_IMAGES = 2  # the first of a batch; each is explained with every text


def explanation_stage(method: str, tower: str, layer: int) -> str:
    """Return the name of the stage of a method, read from a layer on, such as "explanation.legrad.vision.layers.3".

    Args:
        method: "chefer" or "legrad".
        tower: "vision" or "text".
        layer: the start layer, counted from 0.
    """
    return f"explanation.{method}.{tower}.layers.{layer}"


def by_differences(stage: str) -> str:
    """Return the name of an explanation that the reference makes from finite differences.

    Args:
        stage: the name of the explanation; see `explanation_stage`.
    """
    return f"differences.{stage.removeprefix('explanation.')}"


def explanation_stages(
    config: CLIPConfig,
    inputs: Mapping[str, np.ndarray],
    text_embeds: np.ndarray,
    of_logits: Callable[..., LogitGradients],
    of_layers: Callable[..., list[LayerAttention]],
) -> dict[str, np.ndarray]:
    """Return the heatmaps and the relevance of tokens, for every start layer.

    Args:
        config: the model's configuration.
        inputs: `pixel_values`, `input_ids` and `attention_mask`.
        text_embeds: the embeddings of the texts, of unit norm: `(texts, projection)`.
        of_logits: `ExplainableEncoder.logit_gradients` of the model.
        of_layers: `ExplainableEncoder.layer_gradients` of the model.

    Returns:
        By the names of `explanation_stage`: for the vision tower the heatmaps from 0 to 1, `(images, texts, rows,
        columns)`, and for the text tower the share of each token in the relevance of all tokens between the first one
        and the pooled one, `(images, texts, seq)`. Then, by the names of `by_differences`, those of the first image and
        the text in the middle again, for a comparison with finite differences.
    """
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    rows = np.arange(len(ids))
    eos = pooled_positions(ids, config.text_config)
    found: list[dict[str, np.ndarray]] = []
    for row in range(min(EXPLAINED_IMAGES, len(inputs["pixel_values"]))):
        pixels = inputs["pixel_values"][row : row + 1]
        by_logits = of_logits(pixels, ids, mask, first_image_layer=0, first_text_layer=0)
        by_layers = of_layers(pixels, text_embeds, first_layer=0)
        of_image: dict[str, np.ndarray] = {}
        for layer in reversed(range(len(by_logits.image))):
            of_class = relevance.chefer(by_logits.image[layer:])[:, 0]
            of_image[explanation_stage("chefer", "vision", layer)] = relevance.image_maps(of_class)
        for layer in reversed(range(len(by_layers))):
            heatmaps = relevance.image_maps(relevance.legrad(by_layers[layer:]))
            of_image[explanation_stage("legrad", "vision", layer)] = heatmaps
        for layer in reversed(range(len(by_logits.text))):
            of_tokens = relevance.chefer(by_logits.text[layer:])[rows, eos]
            of_image[explanation_stage("chefer", "text", layer)] = _shares_of_tokens(of_tokens, eos)
        found.append(of_image)
    stacked = {stage: np.stack([of_image[stage] for of_image in found]) for stage in found[0]}
    middle = len(ids) // 2  # not the first: it may have a single word, whose share is 1 whatever the gradients are
    return stacked | {by_differences(stage): array[:1, [middle]] for stage, array in stacked.items()}


def _shares_of_tokens(of_tokens: np.ndarray, eos: Iterable[Any]) -> np.ndarray:
    """Return the shares of the tokens between the first and the pooled one `(texts, seq)`; zeros for the others."""
    found = np.zeros_like(of_tokens)
    for row, end in enumerate(eos):
        found[row, 1:end] = relevance.shares(of_tokens[row, 1:end])
    return found
