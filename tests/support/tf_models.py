"""Tiny TensorFlow models and inputs for them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

import clip_tf
from support.configs import tiny_config
from support.tolerances import SAME_OUTPUTS


def build(class_name: str = "CLIPModel", seed: int = 0, *, dtype: Any = None, **config: Any) -> Any:
    keras.utils.set_random_seed(seed)
    return getattr(clip_tf, class_name)(tiny_config(**{"num_labels": 3, **config}), dtype=dtype)


def assert_close(ours: Any, expected: Any, tolerance: float = SAME_OUTPUTS) -> None:
    """Check that two outputs have the same fields, and arrays equal within a fraction of the largest value."""
    assert list(ours) == list(expected)
    for name in expected:
        if hasattr(expected[name], "shape"):
            one, other = (np.asarray(output[name]).astype(np.float64) for output in (ours, expected))
            assert np.abs(one - other).max() <= tolerance * np.abs(other).max(), name
