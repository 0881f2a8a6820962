"""Floating-point operation counts of the towers, for their share of the machine's peak matrix-multiplication rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clip_core.configuration import CLIPConfig, CLIPTextConfig, CLIPVisionConfig


def image_flops(config: CLIPConfig) -> float:
    """Return the operations for one image's features: matrix products only, with a multiply-add counted as two."""
    vision = config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2
    embedding = 2 * patches * vision.num_channels * vision.patch_size**2 * vision.hidden_size
    return embedding + _encoder(vision, patches + 1) + 2 * vision.hidden_size * config.projection_dim


def text_flops(config: CLIPConfig, seq: int) -> float:
    """Return the operations for one text's features; attention is counted in full, not just its causal half."""
    text = config.text_config
    return _encoder(text, seq) + 2 * text.hidden_size * config.projection_dim


def _encoder(config: CLIPTextConfig | CLIPVisionConfig, seq: int) -> float:
    hidden, inner = config.hidden_size, config.intermediate_size
    weights = 4 * hidden * hidden + 2 * hidden * inner
    return config.num_hidden_layers * (2 * seq * weights + 4 * seq * seq * hidden)
