"""Models and inputs of the tests for a GPU.

With `CLIP_ZOO_REHEARSE=1` they run on a CPU, so that a rehearsal finds errors before a GPU is rented.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from support.configs import pixel_values, tiny_config, token_ids

if TYPE_CHECKING:
    from clip_core.configuration import CLIPConfig

REHEARSAL = os.environ.get("CLIP_ZOO_REHEARSE") == "1"
DEVICE = "cpu" if REHEARSAL else "cuda"

# Widths whose heads every kernel takes: 64 and 80, as in ViT-B and ViT-H.
TEXT = {"hidden_size": 192, "num_attention_heads": 3}
VISION = {"hidden_size": 160, "num_attention_heads": 2, "num_channels": 3}


def config(text: dict[str, Any] | None = None, vision: dict[str, Any] | None = None, **top: Any) -> CLIPConfig:
    """Return a small configuration; the arguments change fields of each tower."""
    return tiny_config({**TEXT, **(text or {})}, {**VISION, **(vision or {})}, num_labels=5, **top)


def arrays(class_name: str, *, empty_row: bool = False) -> dict[str, np.ndarray]:
    """Return the inputs of a model class: six padded texts, six images, or both."""
    ids, mask = token_ids(6)
    if empty_row:
        mask[2] = 0
    text, pictures = {"input_ids": ids, "attention_mask": mask}, {"pixel_values": pixel_values(6, channels=3)}
    if class_name == "CLIPModel":
        return text | pictures
    return text if "Text" in class_name else pictures


def relative(ours: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference, relative to the largest value expected."""
    ours, expected = (np.asarray(array, np.float32) for array in (ours, expected))
    return float(np.abs(ours - expected).max() / np.abs(expected).max())
