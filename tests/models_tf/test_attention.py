"""The two attention implementations give the same numbers, forward and backward, under every mask."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from clip_core.modeling import attention as attention_names
from clip_tf.attention import check_implementation, eager_attention, text_plan
from support.configs import pixel_values, token_ids
from support.messages import naming
from support.tf_models import build
from support.tolerances import FLOAT32, FLOAT32_OPERATION, FLOAT64, ROUNDING

BATCH, SEQ, HEADS, HEAD_DIM = 5, 9, 3, 8
MASKS = {
    "none": None,
    "right padding": [[1] * n + [0] * (SEQ - n) for n in (9, 4, 1, 7, 2)],
    "left padding": [[0] * (SEQ - n) + [1] * n for n in (9, 4, 1, 7, 2)],
    "a row of padding alone": [[1] * n + [0] * (SEQ - n) for n in (3, 0, 9, 5, 0)],
    "holes": [[1, 0, 1, 1, 0, 0, 1, 1, 0]] * BATCH,
}


def run(implementation, mask):
    """All states and the gradients of the sum of their squares, in float64."""
    model = build("CLIPTextModel", dtype="float64", attn_implementation=implementation)
    ids = np.random.default_rng(1).integers(1, 90, (BATCH, SEQ))
    with tf.GradientTape() as tape:
        states = model(ids, None if mask is None else np.array(mask)).last_hidden_state
        loss = tf.reduce_sum(tf.square(states))
    gradients = tape.gradient(loss, [variable.value for variable in model.weights])
    return states.numpy(), [tf.convert_to_tensor(gradient).numpy() for gradient in gradients]


@pytest.mark.parametrize("case", MASKS)
def test_sdpa_agrees_with_eager_forward_and_backward(case):
    states, gradients = run("eager", MASKS[case])
    other_states, other_gradients = run("sdpa", MASKS[case])
    assert np.isfinite(states).all()
    np.testing.assert_allclose(other_states, states, **FLOAT64)
    for one, other in zip(gradients, other_gradients, strict=True):
        np.testing.assert_allclose(other, one, **FLOAT64)


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


def test_a_padded_text_equals_the_same_text_alone():
    model = build("CLIPTextModel", dtype="float64")
    ids, mask = token_ids()
    together = model(ids, mask)
    for row, length in enumerate(mask.sum(-1)):
        alone = model(ids[row : row + 1, :length])
        np.testing.assert_allclose(together.last_hidden_state[row, :length], alone.last_hidden_state[0], **FLOAT64)
        np.testing.assert_allclose(together.pooler_output[row], alone.pooler_output[0], **FLOAT64)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_no_mask_makes_nan_in_any_dtype(dtype):
    random = np.random.default_rng(0)
    query, key, value = (tf.cast(random.standard_normal((BATCH, SEQ, HEADS, HEAD_DIM)), dtype) for _ in range(3))
    for rows in MASKS.values():
        mask = None if rows is None else tf.constant(rows)
        prepared = text_plan("eager", mask, tf.zeros((BATCH, SEQ, 1), dtype))
        for array in eager_attention(query, key, value, prepared, scale=0.3, dropout=None):
            assert np.isfinite(array.numpy().astype(np.float32)).all()


@pytest.mark.parametrize("class_name", ["CLIPTextModel", "CLIPVisionModel"])
def test_asking_sdpa_for_attentions_falls_back_to_eager_with_one_warning(class_name, monkeypatch):
    monkeypatch.setattr(attention_names, "_warned", set())
    model = build(class_name)
    inputs = token_ids()[0] if class_name == "CLIPTextModel" else pixel_values(2)
    with pytest.warns(UserWarning, match=naming("sdpa", "output_attentions")) as caught:
        first = model(inputs, output_attentions=True)
        model(inputs, output_attentions=True)
    assert len([warning for warning in caught if "output_attentions" in str(warning.message)]) == 1
    np.testing.assert_allclose(first.last_hidden_state, model(inputs).last_hidden_state, **FLOAT32)
    assert all(np.allclose(tf.reduce_sum(weights, axis=-1), 1, **FLOAT32_OPERATION) for weights in first.attentions)


def test_eager_returns_attentions_without_a_warning():
    model = build("CLIPTextModel", attn_implementation="eager")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        output = model(token_ids()[0], output_attentions=True)
    assert [tuple(weights.shape) for weights in output.attentions] == [(4, 5, 11, 11)] * 3


def test_an_unknown_implementation_is_refused_by_name():
    with pytest.raises(ValueError, match=naming("'flex'", "eager", "sdpa")):
        check_implementation("flex")
    with pytest.raises(ValueError, match=naming("'flash_attention_2'", "clip_torch")):
        build(attn_implementation="flash_attention_2")


def test_a_mask_of_another_shape_is_refused_with_both_shapes():
    with pytest.raises(ValueError, match=naming("attention_mask", (4, 12), "input_ids", (4, 11))):
        build("CLIPTextModel")(token_ids()[0], attention_mask=np.ones((4, 12)))


def test_dropout_acts_in_training_alone():
    for implementation in ("eager", "sdpa"):
        model = build("CLIPTextModel", text={"attention_dropout": 0.5}, attn_implementation=implementation)
        ids = token_ids()[0]
        assert np.array_equal(model(ids).pooler_output, model(ids).pooler_output)
        one, other = (model(ids, training=True).pooler_output for _ in range(2))
        assert not np.allclose(one, other)
