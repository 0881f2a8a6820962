"""The forms in which a model takes its inputs, as transformers' TensorFlow classes did, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from clip_core.processing.encoding import BatchEncoding
from support.configs import token_ids
from support.tf_models import assert_close, build, inputs_for


@pytest.fixture(scope="module")
def model():
    return build()


def test_a_dict_keywords_positions_and_lists_mean_the_same(model):
    inputs = inputs_for("CLIPModel")
    ids, mask, pixels = inputs["input_ids"], inputs["attention_mask"], inputs["pixel_values"]
    expected = model(**inputs)
    forms = [
        lambda: model(inputs),
        lambda: model(BatchEncoding(inputs)),
        lambda: model(ids, pixels, mask),
        lambda: model([ids, pixels, mask]),
        lambda: model((ids, pixels), attention_mask=mask),
        lambda: model({"input_ids": ids, "pixel_values": pixels}, attention_mask=mask),
        lambda: model(tf.constant(ids, tf.int32), tf.constant(pixels), tf.constant(mask, tf.int32)),
    ]
    for form in forms:
        assert_close(form(), expected)


def test_features_take_the_same_forms(model):
    inputs = inputs_for("CLIPModel")
    pixels = inputs.pop("pixel_values")
    expected = model.get_text_features(**inputs).numpy()
    for form in (inputs, [inputs["input_ids"], inputs["attention_mask"]]):
        assert np.allclose(model.get_text_features(form), expected, atol=1e-6)
    assert np.allclose(model.get_image_features(pixels), model.get_image_features({"pixel_values": pixels}), atol=1e-6)


def test_an_input_given_twice_or_too_many_are_refused(model):
    inputs = inputs_for("CLIPModel")
    with pytest.raises(TypeError, match="input_ids is given twice"):
        model(inputs, input_ids=inputs["input_ids"])
    with pytest.raises(TypeError, match="given in order, and only"):
        build("CLIPTextModel")([token_ids()[0]] * 9)


def test_missing_inputs_are_named(model):
    with pytest.raises(ValueError, match="pixel_values is missing"):
        model(input_ids=token_ids()[0])
    with pytest.raises(ValueError, match="input_ids is missing"):
        build("CLIPTextModel")(attention_mask=token_ids()[1])
