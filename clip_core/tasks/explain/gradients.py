"""The attention of a model and the gradients by it, as backends return them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from clip_core.backends import Encoder

if TYPE_CHECKING:
    import numpy as np

    from clip_core.configuration import CLIPConfig


class LayerAttention(NamedTuple):
    """A layer's attention, and the gradient of a score by it: `(texts, heads, queries, keys)`, float32.

    Attributes:
        probabilities: the attention probabilities.
        gradients: the derivative of each text's score by each probability.
    """

    probabilities: np.ndarray
    gradients: np.ndarray


class LogitGradients(NamedTuple):
    """The gradients of logits, layer by layer.

    Attributes:
        image: the layers of the vision tower, from the first one that was differentiated.
        text: the same for the layers of the text tower.
    """

    image: list[LayerAttention]
    text: list[LayerAttention]


class ExplainableEncoder(Encoder, Protocol):
    """An encoder that also returns its attention and the gradients by it, as those of our three backends do."""

    @property
    def config(self) -> CLIPConfig:
        """The model's configuration."""
        ...

    def logit_gradients(
        self,
        pixel_values: np.ndarray,
        input_ids: np.ndarray,
        attention_mask: np.ndarray,
        *,
        first_image_layer: int,
        first_text_layer: int,
    ) -> LogitGradients:
        """Differentiate the logit of an image with each text by the attention probabilities of both towers.

        Args:
            pixel_values: `(1, channels, height, width)`.
            input_ids: `(texts, seq)`.
            attention_mask: `(texts, seq)`, 1 for tokens, 0 for padding.
            first_image_layer: the first layer of the vision tower to differentiate by, counted from 0.
            first_text_layer: the same for the text tower.

        Returns:
            The attention of each layer of both towers from these on, and the gradients by it.
        """
        ...

    def layer_gradients(
        self, pixel_values: np.ndarray, text_embeds: np.ndarray, *, first_layer: int
    ) -> list[LayerAttention]:
        """Differentiate each layer's similarity with each text by the attention of this layer alone.

        A layer's states are averaged over all tokens, normalized and projected like the last layer's class token.

        Args:
            pixel_values: `(1, channels, height, width)`.
            text_embeds: `(texts, projection)`, of unit norm.
            first_layer: the first layer of the vision tower, counted from 0.

        Returns:
            The attention of each layer from this one on, and the gradients by it.
        """
        ...
