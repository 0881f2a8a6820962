"""Methods specific to Keras: fitting a resized model, and counts."""

from __future__ import annotations

import pytest

import clip_tf
from support.configs import inputs_for, pixel_values, token_ids
from support.tf_models import assert_close, build


@pytest.fixture
def ids():
    return token_ids()[0]


def test_a_resized_model_trains_and_comes_back(ids, tmp_path):
    model = build()
    model.resize_token_embeddings(105)
    model.compile(optimizer="adam")
    model.fit(inputs_for("CLIPModel"), batch_size=4, verbose=0)
    model.save_pretrained(tmp_path)
    loaded = clip_tf.CLIPModel.from_pretrained(tmp_path)
    assert_close(loaded(ids, pixel_values()), model(ids, pixel_values()))


def test_keras_counts_the_same():
    model = build()
    total = sum(variable.numpy().size for variable in model.weights)
    assert model.num_parameters() == model.count_params() == total
    model.text_model.trainable = False
    assert model.num_parameters(only_trainable=True) < total
