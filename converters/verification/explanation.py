"""Explanations in numpy and float64: scores, their gradients by the attention, and the methods' relevance.

A score is a function of probes, arrays of zeros that are added to attention probabilities. The methods are written out
again here, apart from `clip_core.tasks.explain.relevance`, so that a fault there shows as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.tasks.explain.gradients import LayerAttention, LogitGradients
from clip_core.tasks.explain.tracing import EXPLAINED_IMAGES, explanation_stage
from converters.verification.autodiff import Tracked, pull_back
from converters.verification.reference import (
    Weights,
    clip,
    eos_positions,
    layer,
    layer_normalized,
    text_bias,
    unit_norm,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from clip_core.configuration import CLIPConfig
    from converters.verification.reference import Array, Trace

    Probes = Mapping[int, Any]  # a layer's number -> its probe (texts, heads, s, s)


class Scores:
    """The scores of an image with texts, as functions of probes. Shapes are those of `reference`.

    Args:
        checkpoint: the arrays of a CLIPModel by canonical name.
        config: its configuration.
        pixel_values: `(1, channels, height, width)`.
        input_ids: `(texts, s)`.
        attention_mask: `(texts, s)`, non-zero for tokens to attend to.

    Attributes:
        trace: every stage of the run without probes; see `reference.clip`.
    """

    def __init__(
        self,
        checkpoint: Mapping[str, np.ndarray],
        config: CLIPConfig,
        pixel_values: np.ndarray,
        input_ids: np.ndarray,
        attention_mask: np.ndarray,
    ) -> None:
        self.weights, self.config = Weights(checkpoint), config
        self.texts = len(input_ids)
        self.eos = eos_positions(config.text_config, input_ids)
        self.trace = clip(checkpoint, config, pixel_values, input_ids, attention_mask)
        self._biases = {"vision": np.zeros((1, 1)), "text": text_bias(input_ids.shape[1], attention_mask)}

    def logits(self, image: Probes, text: Probes) -> Any:
        """Return the logit of the image with each text, `(texts,)`, given probes of the last layers of each tower."""
        states = layer_normalized(
            self.weights / "vision_model.post_layernorm", self.config.vision_config, self._run("vision", image)[:, 0]
        )
        image_embeds = unit_norm(states @ self.weights["visual_projection.weight"].T)
        states = self._run("text", text)[np.arange(self.texts), self.eos]
        states = layer_normalized(self.weights / "text_model.final_layer_norm", self.config.text_config, states)
        text_embeds = unit_norm(states @ self.weights["text_projection.weight"].T)
        return (image_embeds * text_embeds).sum(axis=-1) * np.exp(self.weights["logit_scale"])

    def similarities(self, index: int, probe: Any) -> Any:
        """Return the similarity of a layer's mean state with each text, `(texts,)`, given a probe of this layer."""
        states, _ = self._layer("vision", index, self._before("vision", index), probe)
        pooled = layer_normalized(
            self.weights / "vision_model.post_layernorm", self.config.vision_config, states.mean(axis=1)
        )
        embeds = unit_norm(pooled @ self.weights["visual_projection.weight"].T)
        return (embeds * self.trace["text_embeds"]).sum(axis=-1)

    def logit_gradients(self, *, first_image_layer: int, first_text_layer: int) -> LogitGradients:
        """Differentiate the logits; see `ExplainableEncoder.logit_gradients`."""
        image, text = self._probes("vision", first_image_layer), self._probes("text", first_text_layer)
        found = pull_back(self.logits(image, text).sum())
        return LogitGradients(
            [self._attention("vision", index, found[probe.node]) for index, probe in image.items()],
            [self._attention("text", index, found[probe.node]) for index, probe in text.items()],
        )

    def layer_gradients(self, *, first_layer: int) -> list[LayerAttention]:
        """Differentiate each layer's similarities; see `ExplainableEncoder.layer_gradients`."""
        return [
            self._attention("vision", index, pull_back(self.similarities(index, probe).sum())[probe.node])
            for index, probe in self._probes("vision", first_layer).items()
        ]

    def _run(self, tower: str, probes: Probes) -> Any:
        """Run the layers that have a probe, which are the last ones, and return their output."""
        states = self._before(tower, min(probes))
        for index, probe in probes.items():
            states, _ = self._layer(tower, index, states, probe)
        return states

    def _layer(self, tower: str, index: int, states: Any, probe: Any) -> tuple[Any, Any]:
        config = self.config.vision_config if tower == "vision" else self.config.text_config
        weights = self.weights / f"{tower}_model.encoder.layers.{index}"
        return layer(weights, config, states, self._biases[tower], probe)

    def _before(self, tower: str, index: int) -> Array:
        """Return the input of a layer, with a row for each text."""
        return self._rows(self.trace[f"{tower}.layers.{index - 1}" if index else f"{tower}.embeddings"])

    def _probes(self, tower: str, first: int) -> dict[int, Tracked]:
        shapes: dict[int, tuple[int, ...]] = {}
        while (stage := f"{tower}.layers.{first + len(shapes)}.attention") in self.trace:
            shapes[first + len(shapes)] = self._rows(self.trace[stage]).shape
        return {index: Tracked(np.zeros(shape)) for index, shape in shapes.items()}

    def _attention(self, tower: str, index: int, gradients: Array) -> LayerAttention:
        return LayerAttention(self._rows(self.trace[f"{tower}.layers.{index}.attention"]), gradients)

    def _rows(self, array: Array) -> Array:
        """Repeat an array of the one image for each text; the texts' arrays have a row for each already."""
        return np.broadcast_to(array, (self.texts, *array.shape[1:]))


def explanations(
    checkpoint: Mapping[str, np.ndarray],
    config: CLIPConfig,
    pixel_values: np.ndarray,
    input_ids: np.ndarray,
    attention_mask: np.ndarray,
) -> Trace:
    """Return the stages of `clip_core.tasks.explain.tracing.explanation_stages`.

    Args:
        checkpoint: the arrays of a CLIPModel by canonical name.
        config: its configuration.
        pixel_values: `(images, channels, height, width)`.
        input_ids: `(texts, s)`.
        attention_mask: `(texts, s)`, non-zero for tokens to attend to.
    """
    pairs = [
        # One text at a time, because a graph of float64 arrays is large.
        _explanation(Scores(checkpoint, config, pixels[None], ids[None], mask[None]))
        for pixels in pixel_values[:EXPLAINED_IMAGES]
        for ids, mask in zip(input_ids, attention_mask, strict=True)
    ]
    texts = len(input_ids)
    return {
        stage: np.stack([pair[stage] for pair in pairs]).reshape(-1, texts, *array.shape)
        for stage, array in pairs[0].items()
    }


def _explanation(scores: Scores) -> Trace:
    """Return the stages of an image with one text, without the axes of images and texts."""
    by_logit = scores.logit_gradients(first_image_layer=0, first_text_layer=0)
    by_layer = scores.layer_gradients(first_layer=0)
    (eos,) = scores.eos
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
