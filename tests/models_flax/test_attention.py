"""Compilation per implementation, and dropout with a key."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import clip_flax
from clip_flax import attention
from clip_flax.attention import eager_attention, sdpa_attention
from clip_flax.plan import AttentionPlan, text_plan
from support.attention_masks import BATCH, SEQ
from support.configs import pixel_values, tiny_config, token_ids
from support.messages import naming
from support.tolerances import FLOAT32, MEAN_OF_DRAWS, SPREAD_OF_DRAWS

HEADS, HEAD_DIM = 3, 8


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


def test_dropout_goes_by_its_key_and_in_training_alone():
    model, ids = clip_flax.CLIPTextModel(tiny_config({"attention_dropout": 0.5}).text_config), token_ids()[0]
    key = jax.random.PRNGKey(0)
    assert np.array_equal(model(ids).pooler_output, model(ids, dropout_rng=key).pooler_output)
    one, same = (model(ids, train=True, dropout_rng=key).pooler_output for _ in range(2))
    assert np.array_equal(one, same)


def test_dropout_acts_in_features():
    model = clip_flax.CLIPModel(tiny_config({"attention_dropout": 0.5}, {"attention_dropout": 0.5}))
    keys = [jax.random.key(seed) for seed in (0, 1)]
    texts = [model.get_text_features(token_ids()[0], train=True, dropout_rng=key) for key in keys]
    images = [model.get_image_features(pixel_values(), train=True, dropout_rng=key) for key in keys]
    assert not np.allclose(*texts, **FLOAT32)
    assert not np.allclose(*images, **FLOAT32)


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
    assert np.std(draws) > SPREAD_OF_DRAWS


def test_training_without_a_key_is_refused_where_there_is_dropout():
    with pytest.raises(ValueError, match=naming("train=True", "dropout_rng=key")):
        clip_flax.CLIPTextModel(tiny_config({"attention_dropout": 0.5}))(token_ids()[0], train=True)
    clip_flax.CLIPTextModel(tiny_config())(token_ids()[0], train=True)


def test_a_mask_without_padding_makes_a_bias_as_its_values_are_unknown_to_a_compiled_function():
    plan = text_plan("sdpa", jnp.ones((BATCH, SEQ)), jnp.zeros((BATCH, SEQ, 4)))
    assert plan.bias.shape == (BATCH, 1, SEQ, SEQ)
    assert not plan.is_causal  # already in the bias
