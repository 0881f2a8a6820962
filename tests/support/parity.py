"""Comparison of our outputs with those of the library that a checkpoint is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from support.tolerances import EMBEDDINGS, HIDDEN_STATES, ROUNDING_ALONE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# The classes that transformers has in these frameworks, by the prefix of their names.
NATIVE_CLASSES = {
    "TF": ("CLIPModel", "CLIPTextModel", "CLIPVisionModel"),
    "Flax": ("CLIPModel", "CLIPTextModel", "CLIPTextModelWithProjection", "CLIPVisionModel"),
}

# The same as cases of a test: the prefix and the class.
NATIVE_CASES = [
    pytest.param(library, name, id=library + name) for library, names in NATIVE_CLASSES.items() for name in names
]


def assert_outputs(
    ours: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], *, class_name: str = ""
) -> None:
    """Check names, shapes and values of a model's outputs, and of its gradients; a CLIPModel's embeddings absolutely.

    Some gradients are zero up to rounding (a key's bias shifts all scores equally): they are measured by the largest.
    """
    assert ours.keys() == reference.keys()
    gradients = [np.abs(array).max() for name, array in reference.items() if name.startswith("gradient.")]
    least = max(gradients, default=0.0) * ROUNDING_ALONE
    for name, expected in reference.items():
        assert ours[name].shape == expected.shape, name
        if name.endswith("_embeds") and class_name == "CLIPModel":
            assert np.abs(ours[name] - expected).max() < EMBEDDINGS, name
        scale = max(np.abs(expected).max(), least if name.startswith("gradient.") else 0.0)
        assert np.abs(ours[name] - expected).max() / scale < HIDDEN_STATES, name


def assert_embeddings(
    backend: Any, folder: Path, inputs: dict[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> None:
    """Check the embeddings, or other outputs, that a folder's CLIPModel gives."""
    found = backend.forward(backend.load("CLIPModel", folder), inputs)
    for name, array in expected.items():
        assert np.abs(found[name] - array).max() < EMBEDDINGS, name
