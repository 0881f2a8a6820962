"""The gradients of scores by attention, against differences of the scores, for every entry of every layer."""

from __future__ import annotations

import numpy as np
import pytest

from converters.verification.scores import Scores
from support.configs import EOS_TOKEN_ID, pixel_values, tiny_config, token_ids
from support.entries import random_arrays
from support.tolerances import FLOAT64_DIFFERENCES, FLOAT64_REFERENCE

STEP = 1e-5
SMALL_TEXT = {"num_attention_heads": 2, "num_hidden_layers": 2}
SMALL_VISION = {"image_size": 12, "num_attention_heads": 2}


@pytest.fixture(scope="module", params=[EOS_TOKEN_ID, 2])  # pooled at the EOS token, and at the largest id
def scores(request):
    config = tiny_config(SMALL_TEXT | {"eos_token_id": request.param}, SMALL_VISION)
    ids, mask = token_ids(2, 5)
    return Scores(random_arrays(config), config, pixel_values(1, 12), ids, mask)


def slopes(score, shape):
    """Return the derivative of each text's score by each entry of a probe, by central differences; rows do not mix."""
    found = np.zeros(shape)
    for place in np.ndindex(*shape[1:]):
        probe = np.zeros(shape)
        probe[:, *place] = STEP
        found[:, *place] = (score(probe) - score(-probe)) / (2 * STEP)
    return found


def test_logits_are_those_of_the_definition(scores):
    none = dict.fromkeys(range(2))
    np.testing.assert_allclose(scores.logits(none, none), scores.trace["logits_per_image"][0], **FLOAT64_REFERENCE)


def test_gradients_of_logits_are_differences_of_logits(scores):
    found = scores.logit_gradients(first_image_layer=0, first_text_layer=0)
    none = dict.fromkeys(range(2))
    for index in range(2):
        image, text = found.image[index], found.text[index]
        expected = slopes(lambda probe, index=index: scores.logits(none | {index: probe}, none), image.gradients.shape)
        np.testing.assert_allclose(image.gradients, expected, **FLOAT64_DIFFERENCES)
        expected = slopes(lambda probe, index=index: scores.logits(none, none | {index: probe}), text.gradients.shape)
        np.testing.assert_allclose(text.gradients, expected, **FLOAT64_DIFFERENCES)
        assert image.gradients.any()
        assert text.gradients.any()


def test_a_later_first_layer_gives_the_same_gradients(scores):
    whole = scores.logit_gradients(first_image_layer=0, first_text_layer=0)
    part = scores.logit_gradients(first_image_layer=1, first_text_layer=1)
    np.testing.assert_allclose(part.image[0].gradients, whole.image[1].gradients, **FLOAT64_REFERENCE)
    np.testing.assert_allclose(part.text[0].gradients, whole.text[1].gradients, **FLOAT64_REFERENCE)


def test_gradients_of_a_layer_are_differences_of_its_similarities(scores):
    found = scores.layer_gradients(first_layer=0)
    assert len(found) == 2
    for index, (probabilities, gradients) in enumerate(found):
        expected = slopes(lambda probe, index=index: scores.similarities(index, probe), gradients.shape)
        np.testing.assert_allclose(gradients, expected, **FLOAT64_DIFFERENCES)
        np.testing.assert_allclose(probabilities.sum(-1), 1, **FLOAT64_REFERENCE)
