"""The forms of a model's inputs, as in transformers' TensorFlow classes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from clip_core.processing.encoding import BatchEncoding
from support.configs import inputs_for, token_ids
from support.messages import naming
from support.tf_models import assert_close, build
from support.tolerances import FLOAT32_OPERATION


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
        assert np.allclose(model.get_text_features(form), expected, **FLOAT32_OPERATION)
    by_name = model.get_image_features({"pixel_values": pixels})
    assert np.allclose(model.get_image_features(pixels), by_name, **FLOAT32_OPERATION)


def test_an_input_given_twice_or_too_many_are_refused(model):
    inputs = inputs_for("CLIPModel")
    with pytest.raises(TypeError, match=naming("input_ids")):
        model(inputs, input_ids=inputs["input_ids"])
    with pytest.raises(TypeError, match=naming(9, "input_ids", "attention_mask")):
        build("CLIPTextModel")([token_ids()[0]] * 9)
