"""Models and inputs of the tests for a GPU.

With `CLIP_ZOO_REHEARSE=1` they run on a CPU, so that a rehearsal finds errors before a GPU is rented.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from support.configs import inputs_for, tiny_config
from support.tolerances import HALF_PRECISION_GRADIENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clip_core.configuration import CLIPConfig

REHEARSAL = os.environ.get("CLIP_ZOO_REHEARSE") == "1"
DEVICE = "cpu" if REHEARSAL else "cuda"

# Widths whose heads every kernel takes: 64 and 80, as in ViT-B and ViT-H.
TEXT = {"hidden_size": 192, "num_attention_heads": 3}
VISION = {"hidden_size": 160, "num_attention_heads": 2, "num_channels": 3}


def config(**top: Any) -> CLIPConfig:
    """Return a small configuration; the arguments change its fields."""
    return tiny_config(TEXT, VISION, num_labels=5, **top)


def arrays(class_name: str, *, empty_row: bool = False) -> dict[str, np.ndarray]:
    """Return the inputs of a model class: six padded texts, six images, or both."""
    inputs = inputs_for(class_name, 6, channels=3)
    if empty_row:
        inputs["attention_mask"][2] = 0
    return inputs


def torch_inputs(class_name: str, **options: Any) -> dict[str, Any]:
    """Return the same as PyTorch's tensors, on the device."""
    import torch

    return {name: torch.from_numpy(array).to(DEVICE) for name, array in arrays(class_name, **options).items()}


def torch_model(class_name: str, implementation: str = "eager", dtype: str = "float32") -> Any:
    """Return a PyTorch model with random weights, on the device."""
    import torch

    import clip_torch

    torch.manual_seed(0)
    model = getattr(clip_torch, class_name)(config(attn_implementation=implementation))
    return model.to(DEVICE, getattr(torch, dtype))


def relative(ours: Any, expected: Any) -> float:
    """Return the largest difference, relative to the largest value expected."""
    ours, expected = (np.asarray(array, np.float32) for array in (ours, expected))
    return float(np.abs(ours - expected).max() / np.abs(expected).max())


def assert_gradients(ours: Mapping[str, Any], expected: Mapping[str, Any], dtype: str) -> None:
    """Check gradients in a half precision against those in single precision, relative to the largest of all."""
    assert ours.keys() == expected.keys()
    largest = max(np.abs(gradient).max() for gradient in expected.values())
    for name, gradient in expected.items():
        assert np.isfinite(ours[name]).all(), name
        assert np.abs(ours[name] - gradient).max() < HALF_PRECISION_GRADIENTS[dtype] * largest, name
