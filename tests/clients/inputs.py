"""The inputs that all clients share."""

from __future__ import annotations

import numpy as np
import torch

from support.configs import EOS_TOKEN_ID


def inputs(batch: int = 4) -> dict[str, torch.Tensor]:
    """Return ids with padding, their mask and images, as a processor would."""
    random = np.random.default_rng(7)
    ids = random.integers(1, 90, (batch, 12))
    ids[:, -1] = EOS_TOKEN_ID
    ids[0, 4:] = [EOS_TOKEN_ID] + [0] * 7
    pixels = random.standard_normal((batch, 3, 30, 30), np.float32)
    arrays = {"input_ids": ids, "attention_mask": (ids != 0).astype(np.int64), "pixel_values": pixels}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
