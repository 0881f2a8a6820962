"""Tiny Flax models and inputs for them."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

import clip_flax
from support.configs import SHALLOW, inputs_for, tiny_config
from support.tolerances import FLOAT32


def build(class_name: str = "CLIPModel", *, seed: int = 0, **config: Any) -> Any:
    return getattr(clip_flax, class_name)(tiny_config(**{"num_labels": 3, **config}), seed=seed)


def model_and_inputs(class_name: str) -> tuple[Any, dict[str, Any]]:
    """Return a model of one layer in each tower, because compiling takes most of the time, and inputs."""
    return build(class_name, **SHALLOW), inputs_for(class_name)


def assert_same(ours: Any, expected: Any, tolerance: dict[str, float] = FLOAT32) -> None:
    """Check that two trees have the same structure and nearly the same arrays."""
    assert jax.tree.structure(ours) == jax.tree.structure(expected)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, **tolerance), ours, expected)
