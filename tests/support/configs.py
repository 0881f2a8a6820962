"""Tiny configurations that differ from every default, so that a hard-coded number cannot hide."""

from __future__ import annotations

from typing import Any

import numpy as np

from clip_core.configuration import CLIPConfig

CLASSES = [
    "CLIPModel",
    "CLIPTextModel",
    "CLIPTextModelWithProjection",
    "CLIPVisionModel",
    "CLIPVisionModelWithProjection",
    "CLIPForImageClassification",
]

EOS_TOKEN_ID = 97

TEXT: dict[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 40,
    "intermediate_size": 52,
    "projection_dim": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 5,
    "max_position_embeddings": 19,
    "hidden_act": "gelu",
    "layer_norm_eps": 3e-4,
    "initializer_factor": 1.5,
    "pad_token_id": 0,
    "bos_token_id": 96,
    "eos_token_id": EOS_TOKEN_ID,
}
VISION: dict[str, Any] = {
    "hidden_size": 36,
    "intermediate_size": 44,
    "projection_dim": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "num_channels": 2,
    "image_size": 30,
    "patch_size": 6,
    "hidden_act": "gelu_new",
    "layer_norm_eps": 2e-3,
    "initializer_range": 0.05,
    "initializer_factor": 1.5,
}

# Arguments of `tiny_config` where the number of layers means nothing: to trace and compile each layer takes seconds.
SHALLOW: dict[str, Any] = {"text": {"num_hidden_layers": 1}, "vision": {"num_hidden_layers": 1}}


def tiny_config(text: dict[str, Any] | None = None, vision: dict[str, Any] | None = None, **top: Any) -> CLIPConfig:
    """Return a CLIPConfig of tiny odd towers; the arguments change fields of each."""
    return CLIPConfig(
        **{
            "text_config": {**TEXT, **(text or {})},
            "vision_config": {**VISION, **(vision or {})},
            "projection_dim": 24,
            "logit_scale_init_value": 1.7,
            **top,
        }
    )


def pixel_values(batch: int = 3, size: int = 30, channels: int = 2, seed: int = 0) -> np.ndarray:
    """Return images `(batch, channels, size, size)`, float32."""
    return np.random.default_rng(seed).standard_normal((batch, channels, size, size)).astype(np.float32)


def token_ids(batch: int = 4, seq: int = 11, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and mask `(batch, seq)`, int64, of texts of several lengths that end in EOS, padded with 0."""
    random = np.random.default_rng(seed)
    ids = np.zeros((batch, seq), np.int64)
    mask = np.zeros((batch, seq), np.int64)
    for row, length in enumerate(random.permutation(np.linspace(3, seq, batch).astype(int))):
        ids[row, :length] = random.integers(1, 90, length)
        ids[row, 0], ids[row, length - 1] = 96, EOS_TOKEN_ID
        mask[row, :length] = 1
    return ids, mask


def inputs_for(
    class_name: str, batch: int = 4, *, seed: int = 0, size: int = 30, channels: int = 2
) -> dict[str, np.ndarray]:
    """Return inputs of a model class, by keyword."""
    ids, mask = token_ids(batch, seed=seed)
    text = {"input_ids": ids, "attention_mask": mask}
    pixels = {"pixel_values": pixel_values(batch, size, channels, seed)}
    return text | pixels if class_name == "CLIPModel" else text if "Text" in class_name else pixels
