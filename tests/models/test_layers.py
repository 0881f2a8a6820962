"""Every activation that a configuration may name, against its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clip_core.configuration.checks import ACTIVATIONS
from support.tolerances import ANOTHER_FORMULA, FLOAT64_OPERATION

X = np.linspace(-6, 6, 241)
erf = np.vectorize(math.erf)
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
FORMULAS = {
    "gelu": X * (1 + erf(X / np.sqrt(2))) / 2,
    "gelu_new": X * (1 + np.tanh(np.sqrt(2 / np.pi) * (X + 0.044715 * X**3))) / 2,
    "gelu_pytorch_tanh": X * (1 + np.tanh(np.sqrt(2 / np.pi) * (X + 0.044715 * X**3))) / 2,
    "quick_gelu": X / (1 + np.exp(-1.702 * X)),
    "relu": np.maximum(X, 0),
    "selu": SELU_SCALE * np.where(X > 0, X, SELU_ALPHA * (np.exp(X) - 1)),
    "silu": X / (1 + np.exp(-X)),
    "swish": X / (1 + np.exp(-X)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_its_formula(backend, name):
    assert np.abs(backend.activation(name, X) - FORMULAS[name]).max() < FLOAT64_OPERATION["atol"]


def test_the_two_gelus_differ(backend):
    assert np.abs(backend.activation("gelu", X) - backend.activation("quick_gelu", X)).max() > ANOTHER_FORMULA
