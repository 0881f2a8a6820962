"""Compilation per implementation, and keys of dropout."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import clip_flax
from clip_flax import attention
from clip_flax.attention import eager_attention
from clip_flax.plan import text_plan
from support.attention_masks import BATCH, SEQ
from support.configs import tiny_config, token_ids
from support.messages import naming

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


def test_a_key_is_needed_in_training_and_ignored_otherwise():
    model, ids = clip_flax.CLIPTextModel(tiny_config({"attention_dropout": 0.5}).text_config), token_ids()[0]
    assert np.array_equal(model(ids).pooler_output, model(ids, dropout_rng=jax.random.PRNGKey(0)).pooler_output)
    with pytest.raises(ValueError, match=naming("train=True", "dropout_rng=key")):
        model(ids, train=True)
    clip_flax.CLIPTextModel(tiny_config())(ids, train=True)


def test_a_mask_without_padding_makes_a_bias_as_its_values_are_unknown_to_a_compiled_function():
    plan = text_plan("sdpa", jnp.ones((BATCH, SEQ)), jnp.zeros((BATCH, SEQ, 4)))
    assert plan.bias.shape == (BATCH, 1, SEQ, SEQ)
    assert not plan.is_causal  # already in the bias
