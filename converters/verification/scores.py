"""Scores of an image with texts in numpy and float64, and their derivatives by the attention.

A score is a function of probes, arrays of zeros that are added to attention probabilities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.tasks.explain.gradients import LayerAttention, LogitGradients
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
    from collections.abc import Mapping

    from clip_core.configuration import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
    from converters.verification.reference import Array

    Probes = Mapping[int, Any]  # a layer's number -> its probe (texts, heads, s, s)

_AFTER = {  # the norm and the projection of each tower's pooled state
    "vision": ("post_layernorm", "visual_projection"),
    "text": ("final_layer_norm", "text_projection"),
}


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
        """Return the logit of the image with each text, `(texts,)`, given probes of the last layers of each tower.

        If there is one text, the probes may have any number of rows, and a logit is returned for each. A tower without
        probes keeps its embeddings.
        """
        image_embeds, text_embeds = self._embeds("vision", image), self._embeds("text", text)
        return (image_embeds * text_embeds).sum(axis=-1) * np.exp(self.weights["logit_scale"])

    def similarities(self, index: int, probe: Any) -> Any:
        """Return the similarity of a layer's mean state with each text, `(texts,)`, given a probe of this layer.

        If there is one text, the probe may have any number of rows, and a similarity is returned for each.
        """
        states, _ = self._layer("vision", index, self._before("vision", index, probe.shape[0]), probe)
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

    def _embeds(self, tower: str, probes: Probes) -> Any:
        """Return the embeddings of a tower `(rows, projection)`, given probes of its last layers."""
        if not probes:
            return self.trace["image_embeds" if tower == "vision" else "text_embeds"]
        rows = max((probe.shape[0] for probe in probes.values() if probe is not None), default=self.texts)
        states = self._before(tower, min(probes), rows)
        for index, probe in probes.items():
            states, _ = self._layer(tower, index, states, probe)
        pooled = states[np.arange(rows), 0 if tower == "vision" else self.eos]
        norm, projection = _AFTER[tower]
        pooled = layer_normalized(self.weights / f"{tower}_model.{norm}", self._config(tower), pooled)
        return unit_norm(pooled @ self.weights[f"{projection}.weight"].T)

    def _layer(self, tower: str, index: int, states: Any, probe: Any) -> tuple[Any, Any]:
        weights = self.weights / f"{tower}_model.encoder.layers.{index}"
        return layer(weights, self._config(tower), states, self._biases[tower], probe)

    def _config(self, tower: str) -> CLIPTextConfig | CLIPVisionConfig:
        return self.config.vision_config if tower == "vision" else self.config.text_config

    def _before(self, tower: str, index: int, rows: int) -> Array:
        """Return the input of a layer, with this number of rows."""
        return _repeated(self.trace[f"{tower}.layers.{index - 1}" if index else f"{tower}.embeddings"], rows)

    def _probes(self, tower: str, first: int) -> dict[int, Tracked]:
        shapes: dict[int, tuple[int, ...]] = {}
        while (stage := f"{tower}.layers.{first + len(shapes)}.attention") in self.trace:
            shapes[first + len(shapes)] = (self.texts, *self.trace[stage].shape[1:])
        return {index: Tracked(np.zeros(shape)) for index, shape in shapes.items()}

    def _attention(self, tower: str, index: int, gradients: Array) -> LayerAttention:
        return LayerAttention(_repeated(self.trace[f"{tower}.layers.{index}.attention"], self.texts), gradients)


def _repeated(array: Array, rows: int) -> Array:
    """Repeat an array of a single image or text; one of several texts has a row for each already."""
    return np.broadcast_to(array, (rows, *array.shape[1:]))
