"""The handles: embeddings, pruning, gradient checkpointing, counts."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import clip_tf
from clip_tf.tensors import parameter
from support.configs import pixel_values, token_ids
from support.messages import naming
from support.tf_models import assert_close, build, inputs_for
from support.tolerances import DRAWN_WEIGHTS, FLOAT32_GRADIENTS, FLOAT32_OPERATION


@pytest.fixture
def ids():
    return token_ids()[0]


def table(model):
    return parameter(model, "text_model.embeddings.token_embedding.weight").read()


def test_growing_the_vocabulary_keeps_the_old_rows_and_starts_new_ones_at_their_mean(ids):
    model = build("CLIPTextModel")
    old, before = table(model), model(ids).pooler_output
    grown = model.resize_token_embeddings(110)
    assert grown is model.get_input_embeddings()
    assert grown.input_dim == model.config.vocab_size == 110
    assert np.array_equal(table(model)[:99], old)
    np.testing.assert_allclose(table(model)[99:], np.broadcast_to(old.mean(0), (11, 40)), **FLOAT32_OPERATION)
    assert np.array_equal(model(ids).pooler_output, before)
    model(np.array([[109, 97]]))
    with pytest.raises(IndexError, match=naming("input_ids", 110)):
        model(np.array([[110, 97]]))


def test_cutting_and_rounding_the_vocabulary():
    model = build()
    assert model.resize_token_embeddings(50).embeddings.shape == (50, 40)
    assert model.resize_token_embeddings(51, pad_to_multiple_of=32).embeddings.shape == (64, 40)
    assert model.resize_token_embeddings(pad_to_multiple_of=3).embeddings.shape == (66, 40)
    assert model.config.text_config.vocab_size == 66
    model.resize_token_embeddings(2000, mean_resizing=False)
    assert table(model)[66:].std() == pytest.approx(0.02 * 1.5, rel=DRAWN_WEIGHTS)


def test_a_resized_model_trains_and_comes_back(ids, tmp_path):
    model = build()
    model.resize_token_embeddings(105)
    model.compile(optimizer="adam")
    model.fit(inputs_for("CLIPModel"), batch_size=4, verbose=0)
    model.save_pretrained(tmp_path)
    loaded = clip_tf.CLIPModel.from_pretrained(tmp_path)
    assert_close(loaded(ids, pixel_values()), model(ids, pixel_values()))


def test_a_vision_model_has_no_vocabulary():
    with pytest.raises(TypeError, match=naming("CLIPVisionModel", "resize_token_embeddings")):
        build("CLIPVisionModel").resize_token_embeddings(5)


@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPTextModelWithProjection", "CLIPVisionModelWithProjection"])
def test_the_input_embedding_can_be_read_and_replaced(class_name):
    model = build(class_name)
    old = model.get_input_embeddings()
    new = keras.layers.Identity()
    model.set_input_embeddings(new)
    assert model.get_input_embeddings() is new is not old


def test_a_pruned_head_counts_as_one_that_adds_nothing(ids, tmp_path):
    model, silenced = build(), build()
    pruned = {"text_model": {0: [4, 1], 2: [0]}, "vision_model": {1: [2]}}
    for tower, layers in pruned.items():
        width = 8 if tower == "text_model" else 12
        for layer, heads in layers.items():
            weight = parameter(silenced, f"{tower}.encoder.layers.{layer}.self_attn.out_proj.weight")
            values = weight.read().copy()
            for head in heads:
                values[:, head * width : (head + 1) * width] = 0
            weight.assign(values)
    model.prune_heads(pruned)
    pixels = pixel_values()
    expected = silenced(ids, pixels)
    assert_close(model(ids, pixels), expected)
    assert model.config.text_config.pruned_heads == {0: [1, 4], 2: [0]}
    assert parameter(model, "text_model.encoder.layers.0.self_attn.q_proj.weight").read().shape == (24, 40)
    model.save_pretrained(tmp_path)
    assert_close(clip_tf.CLIPModel.from_pretrained(tmp_path)(ids, pixels), expected)


def test_heads_of_one_tower_are_pruned_by_layer_and_in_steps(ids):
    at_once, in_steps = build("CLIPTextModel"), build("CLIPTextModel")
    at_once.prune_heads({1: [0, 2, 3]})
    in_steps.prune_heads({1: [2]})
    in_steps.prune_heads({1: [3, 2, 0]})
    assert in_steps.config.pruned_heads == at_once.config.pruned_heads == {1: [0, 2, 3]}
    assert_close(in_steps(ids), at_once(ids))


@pytest.mark.parametrize("attn_implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPVisionModel", "CLIPTextModel"])
def test_gradient_checkpointing_gives_the_same_gradients(class_name, attn_implementation):
    def gradients(*, checkpointing):
        model = build(class_name, text={"attention_dropout": 0.4}, attn_implementation=attn_implementation)
        keras.utils.set_random_seed(3)
        if checkpointing:
            model.gradient_checkpointing_enable()
        assert model.is_gradient_checkpointing is checkpointing
        with tf.GradientTape() as tape:
            output = model(inputs_for(class_name), training=True)
            loss = tf.reduce_sum(tf.square(output[0]))
        found = tape.gradient(loss, [variable.value for variable in model.trainable_weights])
        return [None if one is None else tf.convert_to_tensor(one).numpy() for one in found]

    for plain, recomputed in zip(gradients(checkpointing=False), gradients(checkpointing=True), strict=True):
        assert (plain is None) == (recomputed is None)
        if plain is not None:
            np.testing.assert_allclose(recomputed, plain, **FLOAT32_GRADIENTS)


def test_counts_and_names(tmp_path):
    model = build()
    total = sum(variable.numpy().size for variable in model.weights)
    tables = 99 * 40 + 19 * 40 + 26 * 36 + 36 * 2 * 6 * 6
    assert model.num_parameters() == model.count_params() == total
    assert model.num_parameters(exclude_embeddings=True) == total - tables
    model.text_model.trainable = False
    assert model.num_parameters(only_trainable=True) < total
    model.save_pretrained(tmp_path)
    assert clip_tf.CLIPModel.from_pretrained(tmp_path).name_or_path == str(tmp_path)


def test_the_names_of_transformers_mean_the_same_classes():
    for name in ("CLIPModel", "CLIPTextModel", "CLIPTextModelWithProjection", "CLIPVisionModel"):
        assert getattr(clip_tf, f"TF{name}") is getattr(clip_tf, name)
