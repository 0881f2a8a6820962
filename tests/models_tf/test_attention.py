"""Attention agrees with Keras' own, under every mask; dropout."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from clip_tf.attention import eager_attention
from clip_tf.plan import text_plan
from support.attention_masks import BATCH, MASKS, SEQ
from support.configs import pixel_values, token_ids
from support.tf_models import build
from support.tolerances import FLOAT32, ROUNDING

HEADS, HEAD_DIM = 3, 8


@pytest.mark.parametrize("case", MASKS)
def test_attention_is_what_keras_computes_by_einsum(case):
    random = np.random.default_rng(0)
    query, key, value = (
        tf.constant(random.standard_normal((BATCH, SEQ, HEADS, HEAD_DIM), np.float32)) for _ in range(3)
    )
    mask = text_plan("eager", None if MASKS[case] is None else tf.constant(MASKS[case]), tf.zeros((BATCH, SEQ, 1)))
    attended, _ = eager_attention(query, key, value, mask, scale=0.3, dropout=None)
    expected = keras.ops.dot_product_attention(query, key, value, bias=mask.bias, scale=0.3)
    np.testing.assert_allclose(attended, expected, atol=ROUNDING)


def test_dropout_acts_in_features():
    model = build(text={"attention_dropout": 0.5}, vision={"attention_dropout": 0.5})
    texts = [model.get_text_features(token_ids()[0], training=True) for _ in range(2)]
    images = [model.get_image_features(pixel_values(), training=True) for _ in range(2)]
    assert not np.allclose(*texts, **FLOAT32)
    assert not np.allclose(*images, **FLOAT32)
