"""Finite differences of scores, for all entries of small models and for some of larger ones."""

from __future__ import annotations

import numpy as np
import pytest

from clip_core.tasks.explain.gradients import LogitGradients
from converters.verification import differences
from converters.verification.scores import Scores
from support.configs import pixel_values, tiny_config, token_ids
from support.entries import random_arrays
from support.tolerances import FLOAT64_DIFFERENCES


@pytest.fixture(scope="module")
def scores():
    config = tiny_config({"num_attention_heads": 2, "num_hidden_layers": 2}, {"image_size": 12})
    ids, mask = token_ids(2, 5)
    return Scores(random_arrays(config), config, pixel_values(1, 12), ids[1:], mask[1:])


@pytest.fixture(scope="module")
def derivatives(scores):
    return scores.logit_gradients(first_image_layer=0, first_text_layer=0), scores.layer_gradients(first_layer=0)


def without_derivatives(by_logit, by_layer):
    """Return the same attention, with NaN for each gradient."""
    emptied = [
        [layer._replace(gradients=np.full_like(layer.gradients, np.nan)) for layer in layers]
        for layers in (by_logit.image, by_logit.text, by_layer)
    ]
    return LogitGradients(*emptied[:2]), emptied[2]


def in_a_row(by_logit, by_layer):
    return [*by_logit.image, *by_logit.text, *by_layer]


def test_slopes_are_those_of_the_score_of_each_row():
    entries = np.argwhere(np.ones((2, 3)))
    factors = np.arange(1, 7).reshape(2, 3)
    found = differences.slopes(lambda probe: ((probe + 2) ** 2 * factors).sum(axis=(1, 2)), (2, 3), entries[::-1])
    np.testing.assert_allclose(found, 4 * factors.ravel()[::-1], **FLOAT64_DIFFERENCES)


def test_every_entry_of_a_small_model_is_a_difference(scores, derivatives):
    found = differences.with_differences(scores, *without_derivatives(*derivatives))
    for layer, right in zip(in_a_row(*found), in_a_row(*derivatives), strict=True):
        attended = right.probabilities != 0  # later tokens and padding are not
        np.testing.assert_allclose(layer.gradients[attended], right.gradients[attended], **FLOAT64_DIFFERENCES)
        assert right.gradients[attended].any()
        assert np.isnan(layer.gradients[~attended]).all()
    assert not all(layer.probabilities.all() for layer in derivatives[0].text)


def test_random_entries_of_a_larger_model_are_differences(scores, derivatives, monkeypatch):
    monkeypatch.setattr(differences, "AFFORDABLE", 0)
    found = differences.with_differences(scores, *without_derivatives(*derivatives))
    for layer, right in zip(in_a_row(*found), in_a_row(*derivatives), strict=True):
        replaced = ~np.isnan(layer.gradients)
        assert replaced.sum() == differences.FEWEST
        np.testing.assert_allclose(layer.gradients[replaced], right.gradients[replaced], **FLOAT64_DIFFERENCES)
