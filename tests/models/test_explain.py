"""The gradients by attention, against those of the definition."""

from __future__ import annotations

import numpy as np
import pytest

from converters.verification.scores import Scores
from support.configs import pixel_values, tiny_config, token_ids
from support.tolerances import GRADIENTS

PRUNED = {"pruned_heads": {1: [0, 2]}, "eos_token_id": 2}


@pytest.mark.parametrize("text", [{}, PRUNED], ids=["EOS", "largest id, pruned heads"])
def test_gradients_are_those_of_the_definition(backend, text):
    vision = {"patch_size": 10, **({"pruned_heads": {0: [1]}} if text is PRUNED else {})}
    model = backend.build("CLIPModel", tiny_config(text, vision))
    encoder = backend.module("backend").ModelEncoder(model)
    pixels, (ids, mask) = pixel_values(1), token_ids(3, 8)
    scores = Scores(backend.weights(model), model.config, pixels, ids, mask)
    first = {"first_image_layer": 0, "first_text_layer": 1}
    found, expected = encoder.logit_gradients(pixels, ids, mask, **first), scores.logit_gradients(**first)
    assert_close(found.image, expected.image)
    assert_close(found.text, expected.text)
    texts = encoder.encode_texts(ids, mask)
    assert_close(encoder.layer_gradients(pixels, texts, first_layer=0), scores.layer_gradients(first_layer=0))


def assert_close(found, expected):
    """Check that the arrays of layers agree, relative to the largest of each."""
    assert len(found) == len(expected) == 2
    for layer, other in zip(found, expected, strict=True):
        for array, wanted in zip(layer, other, strict=True):
            assert array.dtype == np.float32
            assert np.abs(wanted).max() > 0
            np.testing.assert_allclose(array, wanted, rtol=GRADIENTS, atol=GRADIENTS * np.abs(wanted).max())


def test_an_id_outside_the_vocabulary_is_refused(backend, built):
    encoder = backend.module("backend").ModelEncoder(built(backend))
    with pytest.raises(IndexError):
        encoder.logit_gradients(
            pixel_values(1), np.array([[99]]), np.array([[1]]), first_image_layer=1, first_text_layer=2
        )
