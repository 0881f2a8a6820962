"""Methods specific to Flax: recomputation under jax.grad, seeds and nnx.tabulate."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import clip_flax
from support.configs import tiny_config, token_ids
from support.flax_models import build

IDS = token_ids()[0]


def test_gradient_checkpointing_recomputes_each_layer_in_the_backward_pass():
    model = build("CLIPTextModel")

    def activations():
        loss = jax.grad(lambda params: jnp.square(model(IDS, params=params).pooler_output).sum())
        return str(jax.make_jaxpr(loss)(model.params)).count("erfc ")

    plain = activations()
    model.enable_gradient_checkpointing()  # as in transformers' Flax models
    assert model.is_gradient_checkpointing
    assert activations() == 2 * plain > 0
    model.gradient_checkpointing_disable()
    assert activations() == plain


def test_two_seeds_give_two_models_and_one_the_same():
    one, same, other = (clip_flax.CLIPModel(tiny_config(), seed=seed).params for seed in (0, jax.random.key(0), 1))
    kernels = [params["visual_projection"]["kernel"] for params in (one, same, other)]
    assert np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])
    assert not np.array_equal(one["visual_projection"]["kernel"][:36, :24], one["text_projection"]["kernel"][:36])


def test_nnx_tabulates_every_layer_and_leaves_the_model_as_it_was():
    model = build("CLIPTextModel")
    before = model(IDS).pooler_output
    table = nnx.tabulate(model, IDS, console_kwargs={"width": 300})
    assert "text_model/encoder/layers/0/self_attn/q_proj" in table
    np.testing.assert_array_equal(model(IDS).pooler_output, before)
