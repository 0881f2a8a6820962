"""The two attention implementations give the same numbers, forward and backward, under every mask."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import clip_flax
from clip_core.modeling import attention as attention_names
from clip_flax import attention
from clip_flax.attention import AttentionPlan, check_implementation, eager_attention, sdpa_attention, text_plan
from support.configs import pixel_values, tiny_config, token_ids
from support.messages import naming
from support.tolerances import FLOAT32, FLOAT32_OPERATION, FLOAT64_OPERATION, GRADIENTS, MEAN_OF_DRAWS

BATCH, SEQ, HEADS, HEAD_DIM = 5, 9, 3, 8

MASKS = {
    "none": None,
    "right padding": [[1] * n + [0] * (SEQ - n) for n in (9, 4, 1, 7, 2)],
    "left padding": [[0] * (SEQ - n) + [1] * n for n in (9, 4, 1, 7, 2)],
    "a row of padding alone": [[1] * n + [0] * (SEQ - n) for n in (3, 0, 9, 5, 0)],
    "holes": [[1, 0, 1, 1, 0, 0, 1, 1, 0]] * BATCH,
}


def as_mask(rows):
    return None if rows is None else jnp.asarray(rows)


def run(implementation, rows):
    """Output of a text model, and the gradients of the sum of its squares."""
    model = clip_flax.CLIPTextModel(tiny_config().text_config)
    model.set_attn_implementation(implementation)
    ids = np.random.default_rng(1).integers(1, 90, (BATCH, SEQ))

    def loss(params):
        states = model(ids, attention_mask=as_mask(rows), params=params).last_hidden_state
        return jnp.square(states).sum(), states

    gradients, states = jax.grad(loss, has_aux=True)(model.params)
    return states, gradients


@pytest.mark.parametrize("case", MASKS)
def test_sdpa_agrees_with_eager_forward_and_backward(case):
    (states, gradients), (expected, expected_gradients) = run("sdpa", MASKS[case]), run("eager", MASKS[case])
    assert jnp.isfinite(states).all()
    np.testing.assert_allclose(states, expected, **FLOAT32)
    least = max(jnp.abs(gradient).max() for gradient in jax.tree.leaves(expected_gradients)) * GRADIENTS
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=GRADIENTS, atol=least),
        gradients,
        expected_gradients,
    )


def test_a_padded_text_equals_the_same_text_alone():
    model = clip_flax.CLIPTextModel(tiny_config().text_config)
    ids, mask = token_ids()
    together = model(ids, attention_mask=mask)
    for row, length in enumerate(mask.sum(-1).tolist()):
        alone = model(ids[row : row + 1, :length])
        np.testing.assert_allclose(together.last_hidden_state[row, :length], alone.last_hidden_state[0], **FLOAT32)
        np.testing.assert_allclose(together.pooler_output[row], alone.pooler_output[0], **FLOAT32)


def test_what_follows_a_token_does_not_change_it():
    model = clip_flax.CLIPTextModel(tiny_config().text_config)
    ids = np.random.default_rng(0).integers(1, 90, (2, 12))
    other = ids.copy()
    other[:, 7:] = 5
    states, changed = model(ids).last_hidden_state, model(other).last_hidden_state
    np.testing.assert_allclose(states[:, :7], changed[:, :7], **FLOAT32_OPERATION)
    assert not np.allclose(states[:, 7:], changed[:, 7:])


@pytest.mark.parametrize("attend", [eager_attention, sdpa_attention])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_no_mask_makes_nan_in_any_dtype(dtype, attend):
    with jax.enable_x64(True):
        query, key, value = jax.random.normal(jax.random.key(0), (3, BATCH, SEQ, HEADS, HEAD_DIM)).astype(dtype)
        for rows in MASKS.values():
            prepared = text_plan("sdpa", as_mask(rows), jnp.zeros((BATCH, SEQ, 1), dtype))
            attended, weights = attend(query, key, value, prepared, scale=0.3, dropout=None)
            assert attended.dtype == dtype
            assert jnp.isfinite(attended).all()
            assert weights is None or jnp.isfinite(weights).all()


def test_float64_is_computed_in_float64():
    with jax.enable_x64(True):
        query, key, value = jax.random.normal(jax.random.key(0), (3, BATCH, SEQ, HEADS, HEAD_DIM), "float64")
        mask = AttentionPlan(is_causal=True)
        attended = sdpa_attention(query, key, value, mask, scale=0.3, dropout=None)[0]
        scores = np.einsum("bqhd,bkhd->bhqk", query, key) * 0.3
        weights = np.exp(np.where(np.tri(SEQ, dtype=bool), scores, -np.inf))
        expected = np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), value)
        np.testing.assert_allclose(attended, expected, **FLOAT64_OPERATION)


@pytest.mark.parametrize("class_name", ["CLIPTextModel", "CLIPVisionModel"])
def test_asking_sdpa_for_attentions_falls_back_to_eager_with_one_warning(class_name, monkeypatch):
    monkeypatch.setattr(attention_names, "_warned", set())
    model = getattr(clip_flax, class_name)(tiny_config())
    inputs = token_ids()[0] if class_name == "CLIPTextModel" else pixel_values(2)
    with pytest.warns(UserWarning, match=naming("sdpa", "output_attentions")) as caught:
        first = model(inputs, output_attentions=True)
        model(inputs, output_attentions=True)
    assert len(caught) == 1
    np.testing.assert_allclose(first.last_hidden_state, model(inputs).last_hidden_state, **FLOAT32)
    assert all(np.allclose(weights.sum(-1), 1.0) for weights in first.attentions)


def test_eager_returns_attentions_without_a_warning():
    model = clip_flax.CLIPTextModel(tiny_config().text_config)
    model.set_attn_implementation("eager")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        output = model(token_ids()[0], output_attentions=True)
    assert [weights.shape for weights in output.attentions] == [(4, 5, 11, 11)] * 3


def test_changing_the_implementation_changes_what_is_compiled(monkeypatch):
    model = clip_flax.CLIPTextModel(tiny_config().text_config)
    model(token_ids()[0])
    called = []
    monkeypatch.setitem(
        attention._ATTENTION, "eager", lambda *args, **options: called.append(1) or eager_attention(*args, **options)
    )
    model.set_attn_implementation("eager")
    model(token_ids()[0])
    assert len(called) == 3


def test_an_unknown_implementation_is_refused_by_name():
    with pytest.raises(ValueError, match=naming("'flex'", "eager", "sdpa")):
        check_implementation("flex")
    with pytest.raises(ValueError, match=naming("'flash_attention_2'", "clip_torch")):
        clip_flax.CLIPModel(tiny_config(attn_implementation="flash_attention_2"))


def test_a_mask_of_another_shape_is_refused_with_both_shapes():
    model = clip_flax.CLIPTextModel(tiny_config().text_config)
    with pytest.raises(ValueError, match=naming("attention_mask", (4, 12), "input_ids", (4, 11))):
        model(token_ids()[0], attention_mask=np.ones((4, 12)))


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_dropout_acts_in_training_alone_and_goes_by_its_key(implementation):
    model = clip_flax.CLIPTextModel(tiny_config({"attention_dropout": 0.5}).text_config)
    model.set_attn_implementation(implementation)
    ids, key = token_ids()[0], jax.random.PRNGKey(0)

    def pooled(**options):
        return model(ids, **options).pooler_output

    assert np.array_equal(pooled(), pooled(dropout_rng=key))
    assert np.array_equal(pooled(train=True, dropout_rng=key), pooled(train=True, dropout_rng=key))
    assert not np.array_equal(pooled(train=True, dropout_rng=key), pooled())
    assert not np.array_equal(
        pooled(train=True, dropout_rng=key), pooled(train=True, dropout_rng=jax.random.PRNGKey(1))
    )


def test_dropout_keeps_the_mean():
    query, key = jax.random.normal(jax.random.key(0), (2, 2, SEQ, HEADS, HEAD_DIM))
    value = jnp.ones((2, SEQ, HEADS, HEAD_DIM))
    model = clip_flax.CLIPTextModel(tiny_config({"attention_dropout": 0.5}).text_config)
    dropout = model.text_model.encoder.layers[0].self_attn._dropout
    draws = [
        sdpa_attention(query, key, value, AttentionPlan(), scale=0.3, dropout=dropout(jax.random.key(seed)))[0]
        for seed in range(100)
    ]
    assert np.mean(draws) == pytest.approx(1.0, abs=MEAN_OF_DRAWS)
    assert np.std(draws) > 0.1


def test_training_without_a_key_is_refused_where_there_is_dropout():
    with pytest.raises(ValueError, match=naming("train=True", "dropout_rng=key")):
        clip_flax.CLIPTextModel(tiny_config({"attention_dropout": 0.5}))(token_ids()[0], train=True)
    clip_flax.CLIPTextModel(tiny_config())(token_ids()[0], train=True)


def test_the_mask_is_made_once_for_all_layers():
    assert AttentionPlan().bias is None
    prepared = text_plan("sdpa", jnp.ones((BATCH, SEQ)), jnp.zeros((BATCH, SEQ, 4)))
    assert prepared.bias.shape == (BATCH, 1, SEQ, SEQ)
    assert not prepared.is_causal  # the bias says it already
