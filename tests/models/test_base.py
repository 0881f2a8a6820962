"""Methods of every model: embeddings, pruning, gradient checkpointing, counts."""

from __future__ import annotations

import numpy as np
import pytest

from support.configs import inputs_for, tiny_config, token_ids
from support.entries import assert_identical
from support.messages import naming
from support.tolerances import DRAWN_WEIGHTS, EMBEDDINGS, GRADIENTS, ROUNDING, ZERO_GRADIENT

TABLE = "text_model.embeddings.token_embedding.weight"
IDS = {"input_ids": token_ids()[0]}


def build(backend, class_name="CLIPTextModel", **config):
    return backend.build(class_name, tiny_config(**config))


# Embeddings


def test_growing_the_vocabulary_keeps_the_old_rows_and_starts_new_ones_at_their_mean(backend):
    model = build(backend)
    old, before = backend.weights(model)[TABLE], backend.forward(model, IDS)["pooler_output"]
    grown = model.resize_token_embeddings(110)
    assert grown is model.get_input_embeddings()
    assert getattr(grown, backend.embedding_size) == model.config.vocab_size == 110
    new, mean = backend.weights(model)[TABLE], old.mean(axis=0)
    assert new.shape == (110, 40)
    assert np.array_equal(new[:99], old)
    assert np.abs(new[99:] - mean).max() < ROUNDING * np.abs(mean).max()
    assert np.array_equal(backend.forward(model, IDS)["pooler_output"], before)
    backend.forward(model, {"input_ids": np.array([[109, 97]])})
    with pytest.raises(IndexError, match=naming("input_ids", 110)):
        backend.forward(model, {"input_ids": np.array([[110, 97]])})


def test_cutting_and_rounding_the_vocabulary(backend):
    model = build(backend, "CLIPModel")

    def resized(*args, **options):
        assert model.resize_token_embeddings(*args, **options) is model.get_input_embeddings()
        return backend.weights(model)[TABLE]

    assert resized(50).shape == (50, 40)
    assert resized(51, pad_to_multiple_of=32).shape == (64, 40)
    assert resized(pad_to_multiple_of=3).shape == (66, 40)
    assert model.vocab_size == model.config.text_config.vocab_size == 66
    assert resized(2000, mean_resizing=False)[66:].std() == pytest.approx(0.02 * 1.5, rel=DRAWN_WEIGHTS)
    for multiple in (1.3, 0):
        with pytest.raises(ValueError, match=naming("pad_to_multiple_of", multiple)):
            resized(60, pad_to_multiple_of=multiple)


@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPTextModel"])
def test_adding_tokens_to_a_model_that_pools_at_the_largest_id_warns(backend, class_name):
    model = build(backend, class_name, text={"eos_token_id": 2})
    model.resize_token_embeddings(99)
    with pytest.warns(UserWarning, match=naming("eos_token_id=2", "tokenizer.eos_token_id")):
        model.resize_token_embeddings(101)
    getattr(model.config, "text_config", model.config).eos_token_id = 97
    model.resize_token_embeddings(102)
    inputs = inputs_for(class_name, 1) | {"input_ids": np.array([[96, 101, 5, 97, 0]])}
    del inputs["attention_mask"]
    outputs = backend.forward(model, inputs)
    prefix = "text_model_output." if class_name == "CLIPModel" else ""
    assert np.array_equal(outputs[f"{prefix}pooler_output"], outputs[f"{prefix}last_hidden_state"][:, 3])


def test_a_vision_model_has_no_vocabulary(backend):
    model = build(backend, "CLIPVisionModel")
    with pytest.raises(TypeError, match=naming(type(model), "resize_token_embeddings")):
        model.resize_token_embeddings(5)


@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPTextModelWithProjection", "CLIPVisionModelWithProjection"])
def test_the_input_embedding_can_be_read_and_replaced(backend, class_name):
    model = build(backend, class_name)
    old, new = model.get_input_embeddings(), backend.other_layer()
    model.set_input_embeddings(new)
    assert model.get_input_embeddings() is new is not old
    assert model.get_output_embeddings() is None


# Pruning


def test_a_pruned_head_counts_as_one_that_adds_nothing(backend, tmp_path):
    model, silenced = build(backend, "CLIPModel"), build(backend, "CLIPModel")
    pruned = {"text_model": {0: [4, 1], 2: [0]}, "vision_model": {1: [2]}}
    for tower, layers in pruned.items():
        width = 8 if tower == "text_model" else 12
        for layer, heads in layers.items():
            name = f"{tower}.encoder.layers.{layer}.self_attn.out_proj.weight"
            weight = backend.weights(silenced)[name].copy()
            for head in heads:
                weight[:, head * width : (head + 1) * width] = 0
            backend.assign(silenced, name, weight)
    inputs = inputs_for("CLIPModel")
    backend.forward(model, inputs)  # functions compiled before are useless after
    model.prune_heads(pruned)
    assert model.config.text_config.pruned_heads == {0: [1, 4], 2: [0]}
    assert backend.weights(model)["text_model.encoder.layers.0.self_attn.q_proj.weight"].shape == (24, 40)

    model.save_pretrained(tmp_path)
    expected = backend.forward(silenced, inputs)
    for one in (model, backend.load("CLIPModel", tmp_path)):
        found = backend.forward(one, inputs)
        assert list(found) == list(expected)
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, rtol=ROUNDING, atol=EMBEDDINGS, err_msg=name)


def test_heads_of_one_tower_are_pruned_by_layer_and_in_steps(backend):
    at_once, in_steps = build(backend), build(backend)
    at_once.prune_heads({1: [0, 2, 3]})
    in_steps.prune_heads({1: [2]})
    in_steps.prune_heads({1: [3, 2, 0]})
    assert in_steps.config.pruned_heads == at_once.config.pruned_heads == {1: [0, 2, 3]}
    assert_identical(backend.forward(in_steps, IDS), backend.forward(at_once, IDS))


def test_a_tower_that_is_not_there_is_named(backend):
    with pytest.raises(ValueError, match=naming("prune_heads", "'0'", "text_model", "vision_model")):
        build(backend, "CLIPModel").prune_heads({0: [1]})


# Gradient checkpointing


@pytest.mark.parametrize("attn_implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPVisionModel", "CLIPTextModel"])
def test_gradient_checkpointing_gives_the_same_gradients(backend, class_name, attn_implementation):
    dropout = {"attention_dropout": 0.4, "num_hidden_layers": 1}

    def gradients(*, checkpointing):
        model = build(backend, class_name, text=dropout, vision=dropout, attn_implementation=attn_implementation)
        if checkpointing:
            model.gradient_checkpointing_enable()
        assert model.is_gradient_checkpointing is checkpointing
        return backend.gradients(model, inputs_for(class_name), dropout_seed=3)

    plain, recomputed = gradients(checkpointing=False), gradients(checkpointing=True)
    assert plain.keys() == recomputed.keys()
    for name, array in plain.items():
        zero = ZERO_GRADIENT if name.endswith("k_proj.bias") else 0.0  # by its formula
        atol = GRADIENTS * np.abs(array).max() + zero
        np.testing.assert_allclose(recomputed[name], array, rtol=GRADIENTS, atol=atol, err_msg=name)


def test_gradient_checkpointing_runs_each_layer_twice_in_training(backend):
    model = build(backend)
    assert backend.runs_of_layers(model, IDS) == 3
    model.gradient_checkpointing_enable()
    assert backend.runs_of_layers(model, IDS) == 6
    if backend.name != "flax":  # where gradients are asked for, and no model is in a mode
        assert backend.runs_of_layers(model, IDS, training=False) == 3
    model.gradient_checkpointing_disable()
    assert not model.is_gradient_checkpointing
    assert backend.runs_of_layers(model, IDS) == 3


# Counts


def test_parameters_are_counted_with_embeddings_and_without(backend):
    model = build(backend, "CLIPModel")
    total = sum(array.size for array in backend.weights(model).values())
    tables = 99 * 40 + 19 * 40 + 26 * 36  # the patch convolution is not one
    assert model.num_parameters() == total
    assert model.num_parameters(exclude_embeddings=True) == total - tables
    assert model.num_parameters(only_trainable=True) == total


# Classes


@pytest.mark.parametrize("tower", ["Text", "Vision"])
def test_a_tower_with_projection_is_not_a_subclass_of_one_without(backend, tower):
    plain = type(build(backend, f"CLIP{tower}Model"))
    projecting = type(build(backend, f"CLIP{tower}ModelWithProjection"))
    assert not issubclass(projecting, plain)
    assert not issubclass(plain, projecting)


# The configuration


@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPTextModel"])
def test_the_configuration_of_a_model_names_its_attention_implementation(backend, class_name):
    config = build(backend, class_name).config
    parts = [config, *(getattr(config, key) for key in config.sub_configs)]
    assert {part._attn_implementation for part in parts} == {"sdpa"}
    config = build(backend, class_name, attn_implementation="eager").config
    assert config._attn_implementation == config.get_text_config()._attn_implementation == "eager"


@pytest.mark.parametrize(
    ("tower", "field", "value"),
    [("text", "num_attention_heads", 7), ("vision", "image_size", 31), ("vision", "layer_norm_eps", -1.0)],
)
def test_a_field_set_to_an_invalid_value_later_builds_no_model(backend, tower, field, value):
    config = tiny_config()
    part = getattr(config, f"{tower}_config")
    setattr(part, field, value)
    for class_name, given in (("CLIPModel", config), (f"CLIP{tower.capitalize()}Model", part)):
        with pytest.raises(ValueError, match=naming(type(part), value)):
            backend.build(class_name, given)


def test_fields_set_one_by_one_build_a_model_once_all_fit(backend):
    config = tiny_config().vision_config
    config.hidden_size = 20
    config.num_attention_heads = 4
    weights = backend.weights(backend.build("CLIPVisionModel", config))
    assert weights["vision_model.embeddings.class_embedding"].shape == (20,)


def test_gradient_checkpointing_in_a_configuration(backend):
    assert build(backend, "CLIPModel", gradient_checkpointing=True).is_gradient_checkpointing
    assert build(backend, gradient_checkpointing=True).is_gradient_checkpointing
    assert not build(backend).is_gradient_checkpointing


def test_a_model_states_its_source_in_an_attribute_of_its_own(backend):
    model = build(backend, "CLIPModel", name_or_path="somewhere")
    assert vars(model)["name_or_path"] == model.config.name_or_path == "somewhere"
    model.name_or_path = "elsewhere"
    assert model.name_or_path == "elsewhere"


def test_gradient_checkpointing_set_in_a_configuration_later(backend):
    for class_name in ("CLIPModel", "CLIPTextModel", "CLIPForImageClassification"):
        config = tiny_config()
        config.gradient_checkpointing = True
        assert backend.build(class_name, config).is_gradient_checkpointing


def test_the_widths_of_a_full_model_are_attributes(backend):
    model = build(backend, "CLIPModel")
    config = model.config
    assert (model.projection_dim, model.text_embed_dim, model.vision_embed_dim) == (config.projection_dim, 40, 36)
    assert (model.text_model.embed_dim, model.vision_model.embed_dim) == (40, 36)
    model.projection_dim = 5
    assert model.projection_dim == 5
    assert model.config.projection_dim != 5
    assert model.text_model.encoder.layers[0].mlp.config is config.text_config


def test_the_attention_implementation_can_be_changed_and_an_unknown_one_changes_nothing(backend):
    model = build(backend, "CLIPModel", attn_implementation="eager")
    config = model.config
    model.set_attn_implementation({"": "sdpa"})
    assert (config._attn_implementation, config.text_config._attn_implementation) == ("sdpa", "eager")
    model.set_attn_implementation("sdpa")
    assert config.vision_config._attn_implementation == "sdpa"
    with pytest.raises(ValueError, match=naming('attn_implementation="foo"', "eager", "sdpa")):
        model.set_attn_implementation("foo")
    assert config.vision_config._attn_implementation == config._attn_implementation == "sdpa"
