"""Inputs that all clients share."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from support.vocabulary import EOS


def inputs(batch: int = 4) -> dict[str, torch.Tensor]:
    """Return ids with padding, their mask and images, as a processor would."""
    random = np.random.default_rng(7)
    ids = random.integers(1, 90, (batch, 12))
    ids[:, -1] = EOS
    ids[0, 4:] = [EOS] + [0] * 7
    pixels = random.standard_normal((batch, 3, 30, 30), np.float32)
    arrays = {"input_ids": ids, "attention_mask": (ids != 0).astype(np.int64), "pixel_values": pixels}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def image(width: int = 50, height: int = 40) -> Image.Image:
    """Return an image of random pixels."""
    return Image.fromarray(np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8))
