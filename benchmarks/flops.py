"""How many floating-point operations a tower takes, for its share of what the machine multiplies at best."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clip_core.configuration import CLIPConfig, CLIPTextConfig, CLIPVisionConfig


def image_flops(config: CLIPConfig) -> float:
    """Of the features of one picture: products of matrices alone, a multiplication and an addition counted as two."""
    vision = config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2
    embedding = 2 * patches * vision.num_channels * vision.patch_size**2 * vision.hidden_size
    return embedding + _encoder(vision, patches + 1) + 2 * vision.hidden_size * config.projection_dim


def text_flops(config: CLIPConfig, seq: int) -> float:
    """Of the features of one text of so many tokens; attention is counted whole, not its causal half."""
    text = config.text_config
    return _encoder(text, seq) + 2 * text.hidden_size * config.projection_dim


def _encoder(config: CLIPTextConfig | CLIPVisionConfig, seq: int) -> float:
    hidden, inner = config.hidden_size, config.intermediate_size
    weights = 4 * hidden * hidden + 2 * hidden * inner
    return config.num_hidden_layers * (2 * seq * weights + 4 * seq * seq * hidden)
