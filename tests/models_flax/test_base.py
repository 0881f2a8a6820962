"""The handles: embeddings, pruning, gradient checkpointing, counts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import clip_flax
from support.configs import pixel_values, tiny_config, token_ids
from support.messages import naming
from support.tolerances import DRAWN_WEIGHTS, FLOAT32, GRADIENTS, ROUNDING

IDS = token_ids()[0]


def build(class_name="CLIPTextModel", **config):
    return getattr(clip_flax, class_name)(tiny_config(**config))


def test_growing_the_vocabulary_keeps_the_old_rows_and_starts_new_ones_at_their_mean():
    model = build()
    old = model.get_input_embeddings().embedding.get_value()
    before = model(IDS).pooler_output
    grown = model.resize_token_embeddings(110)
    assert grown is model.get_input_embeddings()
    table = grown.embedding.get_value()
    assert table.shape == (110, 40)
    assert grown.num_embeddings == model.config.vocab_size == 110
    assert np.array_equal(table[:99], old)
    np.testing.assert_allclose(table[99:], np.broadcast_to(old.mean(0), (11, 40)), rtol=ROUNDING)
    assert np.array_equal(model(IDS).pooler_output, before)
    model(np.array([[109, 97]]))
    assert model.params["text_model"]["embeddings"]["token_embedding"]["embedding"].shape == (110, 40)


def test_cutting_and_rounding_the_vocabulary():
    model = build("CLIPModel")
    assert model.resize_token_embeddings(50).embedding.shape == (50, 40)
    assert model.resize_token_embeddings(51, pad_to_multiple_of=32).embedding.shape == (64, 40)
    assert model.resize_token_embeddings(pad_to_multiple_of=3).embedding.shape == (66, 40)
    assert model.config.text_config.vocab_size == 66
    drawn = model.resize_token_embeddings(2000, mean_resizing=False).embedding.get_value()[66:]
    assert drawn.std() == pytest.approx(0.02 * 1.5, rel=DRAWN_WEIGHTS)


def test_a_vision_model_has_no_vocabulary():
    with pytest.raises(TypeError, match=naming("CLIPVisionModel", "resize_token_embeddings")):
        build("CLIPVisionModel").resize_token_embeddings(5)


@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPTextModelWithProjection", "CLIPVisionModelWithProjection"])
def test_the_input_embedding_can_be_read_and_replaced(class_name):
    model = build(class_name)
    old, new = model.get_input_embeddings(), nnx.Linear(1, 1, rngs=nnx.Rngs(0))
    model.set_input_embeddings(new)
    assert model.get_input_embeddings() is new is not old


def test_a_pruned_head_counts_as_one_that_adds_nothing(tmp_path):
    model, silenced = build("CLIPModel"), build("CLIPModel")
    pruned = {"text_model": {0: [4, 1], 2: [0]}, "vision_model": {1: [2]}}
    for tower, by_layer in pruned.items():
        width = 8 if tower == "text_model" else 12
        for layer, heads in by_layer.items():
            kernel = getattr(silenced, tower).encoder.layers[layer].self_attn.out_proj.kernel
            for head in heads:
                kernel[head * width : (head + 1) * width] = 0.0
    pixels = pixel_values()
    model(IDS, pixels)  # compiled before
    model.prune_heads(pruned)
    expected = silenced(IDS, pixels).logits_per_image
    np.testing.assert_allclose(model(IDS, pixels).logits_per_image, expected, **FLOAT32)
    assert model.config.text_config.pruned_heads == {0: [1, 4], 2: [0]}
    assert model.text_model.encoder.layers[0].self_attn.q_proj.kernel.shape == (40, 24)

    model.save_pretrained(tmp_path)
    loaded = clip_flax.CLIPModel.from_pretrained(tmp_path)
    np.testing.assert_allclose(loaded(IDS, pixels).logits_per_image, expected, **FLOAT32)


def test_heads_of_one_tower_are_pruned_by_layer_and_in_steps():
    at_once, in_steps = build(), build()
    at_once.prune_heads({1: [0, 2, 3]})
    in_steps.prune_heads({1: [2]})
    in_steps.prune_heads({1: [3, 2, 0]})
    assert in_steps.config.pruned_heads == at_once.config.pruned_heads == {1: [0, 2, 3]}
    assert np.array_equal(in_steps(IDS).pooler_output, at_once(IDS).pooler_output)


def test_a_tower_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=naming("prune_heads", "'0'", "text_model", "vision_model")):
        build("CLIPModel").prune_heads({0: [1]})


@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPVisionModel", "CLIPTextModel"])
def test_gradient_checkpointing_gives_the_same_gradients(class_name):
    config = {"text": {"attention_dropout": 0.3}, "vision": {"attention_dropout": 0.3}}

    def gradients(*, checkpointing):
        model = build(class_name, **config)
        if checkpointing:
            model.gradient_checkpointing_enable()
        assert model.is_gradient_checkpointing is checkpointing
        pixels = pixel_values(4)
        inputs = {"CLIPModel": (IDS, pixels), "CLIPVisionModel": (pixels,), "CLIPTextModel": (IDS,)}[class_name]

        def loss(params):
            outputs = model(*inputs, params=params, train=True, dropout_rng=jax.random.key(0))
            return jnp.square(outputs[0]).sum()

        return jax.grad(loss)(model.params)

    plain, recomputed = gradients(checkpointing=False), gradients(checkpointing=True)
    least = max(jnp.abs(gradient).max() for gradient in jax.tree.leaves(plain)) * GRADIENTS
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=GRADIENTS, atol=least), plain, recomputed)


def test_gradient_checkpointing_recomputes_each_layer_in_the_backward_pass():
    model = build()

    def activations():
        loss = jax.grad(lambda params: jnp.square(model(IDS, params=params).pooler_output).sum())
        return str(jax.make_jaxpr(loss)(model.params)).count("erfc ")

    plain = activations()
    model.gradient_checkpointing_enable()
    assert activations() == 2 * plain > 0
    model.gradient_checkpointing_disable()
    assert activations() == plain


def test_counts():
    model = build("CLIPModel")
    total = sum(leaf.size for leaf in jax.tree.leaves(model.params))
    tables = 99 * 40 + 19 * 40 + 26 * 36 + 36 * 2 * 6 * 6
    assert model.num_parameters() == total
    assert model.num_parameters(exclude_embeddings=True) == total - tables
    assert model.framework == "flax"
    assert model.get_output_embeddings() is None


def test_two_seeds_give_two_models_and_one_the_same():
    one, same, other = (clip_flax.CLIPModel(tiny_config(), seed=seed).params for seed in (0, jax.random.key(0), 1))
    kernels = [params["visual_projection"]["kernel"] for params in (one, same, other)]
    assert np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])
    assert not np.array_equal(one["visual_projection"]["kernel"][:36, :24], one["text_projection"]["kernel"][:36])
