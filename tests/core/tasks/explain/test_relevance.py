"""Relevance from attention and gradients that are known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from clip_core.tasks.explain import relevance
from clip_core.tasks.explain.gradients import LayerAttention
from support.tolerances import FLOAT32_OPERATION, FLOAT64_OPERATION


@pytest.fixture
def layers():
    """Two layers of two texts, with three heads and five tokens; gradients of both signs."""
    random = np.random.default_rng(0)
    shape = (2, 3, 5, 5)
    return [LayerAttention(random.random(shape), random.standard_normal(shape)) for _ in range(2)]


def test_chefer_is_the_papers_loop(layers):
    for text, found in enumerate(relevance.chefer(layers)):
        expected = np.eye(5)
        for probabilities, gradients in layers:
            heads = [np.clip(probabilities[text, head] * gradients[text, head], 0, None) for head in range(3)]
            expected = expected + (sum(heads) / 3) @ expected
        np.testing.assert_allclose(found, expected, **FLOAT64_OPERATION)


def test_legrad_sums_the_positive_gradients_of_layers(layers):
    expected = sum(np.clip(gradients, 0, None).mean(axis=(1, 2)) for _, gradients in layers)
    np.testing.assert_allclose(relevance.legrad(layers), expected, **FLOAT64_OPERATION)


def test_the_baseline_is_the_last_layers_attention(layers):
    expected = layers[1].probabilities.mean(axis=1)
    np.testing.assert_allclose(relevance.attention(layers), expected, **FLOAT64_OPERATION)


def test_maps_leave_out_the_class_token_and_go_from_zero_to_one():
    (found,) = relevance.image_maps(np.array([[99.0, 1, 3, 2, 5]]))
    np.testing.assert_allclose(found, [[0, 0.5], [0.25, 1]], **FLOAT64_OPERATION)
    assert not relevance.min_max(np.full((1, 2, 2), 7.0)).any()


def test_enlarging_is_bilinear_between_the_centres_of_patches():
    (found,) = relevance.upsampled(np.array([[[0.0, 1.0]]]), 4)
    row = [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]
    np.testing.assert_allclose(found, [row] * 4, **FLOAT64_OPERATION)


def test_enlarging_is_pillows():
    small = np.random.default_rng(1).random((4, 3)).astype(np.float32)
    expected = np.asarray(Image.fromarray(small).resize((15, 20), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(relevance.upsampled(small[None], 5)[0], expected, **FLOAT32_OPERATION)


def test_shares_sum_to_one():
    assert relevance.shares(np.array([1.0, 3.0])).tolist() == [0.25, 0.75]
    assert relevance.shares(np.zeros(2)).tolist() == [0.5, 0.5]
    assert relevance.shares(np.zeros(0)).tolist() == []
