"""Attention agrees with Keras' own, under every mask."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from clip_tf.attention import eager_attention
from clip_tf.plan import text_plan
from support.attention_masks import BATCH, MASKS, SEQ
from support.tolerances import ROUNDING

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
