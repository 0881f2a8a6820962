"""`model.params`, and calls that are pure functions of it under JAX's transformations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.core import freeze

import clip_flax
from clip_core.modeling.parameters import MODEL_CLASSES, parameter_table
from clip_flax.structure import structure_of
from clip_flax.tensors import flatten
from converters.naming.names import to_file
from converters.naming.rules import FLAX
from converters.tensors import TensorEntry
from support.configs import SHALLOW, pixel_values, tiny_config, token_ids
from support.flax_models import assert_same, build, model_and_inputs
from support.messages import naming
from support.tolerances import (
    CHECKPOINTED_GRADIENTS,
    DIFFERENCE_QUOTIENT,
    HALF_PRECISION_LOGITS,
)


def objective(model, inputs):
    return lambda params: jnp.square(model(**inputs, params=params)[0]).sum()


# Names


@pytest.mark.parametrize("class_name", MODEL_CLASSES)
def test_params_are_those_that_transformers_flax_classes_name(class_name):
    model, _ = model_and_inputs(class_name)
    table = parameter_table(model.config, class_name)
    canonical = {name: TensorEntry(shape, np.dtype(np.float32), lambda: None) for name, shape in table.items()}
    expected = {tuple(name.split("/")): entry.shape for name, entry in to_file(canonical, FLAX).items()}
    assert {path: leaf.shape for path, leaf in flatten(model.params).items()} == expected
    assert model.required_params == set(expected)
    assert jax.tree.map(lambda leaf: leaf.shape, model.params_shape_tree) == jax.tree.map(
        lambda leaf: leaf.shape, model.params
    )


def test_params_is_plain_and_has_layers_by_name():
    params = build("CLIPModel").params
    assert type(params) is dict
    assert list(params["text_model"]["encoder"]["layers"]) == ["0", "1", "2"]
    assert isinstance(params["logit_scale"], jax.Array)


def test_layers_stay_in_place_where_there_are_more_than_ten():
    config = tiny_config({"num_hidden_layers": 12})
    model = clip_flax.CLIPTextModel(config)
    expected = model.forward(jnp.asarray(token_ids()[0]))
    assert_same(model(token_ids()[0]), expected)
    assert_same(model(token_ids()[0], params=model.params), expected)


# Setting


def test_a_call_uses_the_params_that_are_given():
    model, inputs = model_and_inputs("CLIPModel")
    other = clip_flax.CLIPModel(model.config, seed=5)
    before = model(**inputs)
    assert_same(model(**inputs, params=other.params), other(**inputs))
    assert_same(model(**inputs, params=freeze(other.params)), other(**inputs))
    assert_same(model(**inputs), before)


def test_params_can_be_set_also_frozen_ones_and_those_of_numpy():
    model, inputs = model_and_inputs("CLIPModel")
    other = clip_flax.CLIPModel(model.config, seed=5)
    model.params = freeze(jax.tree.map(np.asarray, other.params))
    assert_same(model.params, other.params)
    assert_same(model(**inputs), other(**inputs))
    assert isinstance(model.logit_scale.get_value(), jax.Array)


def test_params_that_lack_one_or_have_another_shape_are_refused_by_name():
    model, inputs = model_and_inputs("CLIPModel")
    lacking = model.params
    del lacking["text_model"]["encoder"]["layers"]["0"]["mlp"]["fc1"]["bias"]
    with pytest.raises(ValueError, match=naming("params", "text_model/encoder/layers/0/mlp/fc1/bias")):
        model.params = lacking
    with pytest.raises(ValueError, match=naming("params", "text_model/encoder/layers/0/mlp/fc1/bias")):
        model(**inputs, params=lacking)
    wrong = model.params
    wrong["text_model"]["encoder"]["layers"]["0"]["mlp"]["fc1"]["bias"] = jnp.zeros(1)  # would broadcast
    with pytest.raises(ValueError, match=naming("text_model/encoder/layers/0/mlp/fc1/bias", (1,), (52,))):
        model.params = wrong
    with pytest.raises(ValueError, match=naming("text_model/encoder/layers/0/mlp/fc1/bias", (1,), (52,))):
        model(**inputs, params=wrong)


def test_casting_casts_what_the_mask_says_and_leaves_the_model_alone():
    model, inputs = model_and_inputs("CLIPModel")
    half = model.to_bf16(model.params)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(half)} == {"bfloat16"}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(model.to_fp16(freeze(half)))} == {"float16"}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(model.to_fp32(half))} == {"float32"}
    mask = jax.tree.map(lambda leaf: leaf.ndim == 2, model.params)
    some = model.to_bf16(model.params, freeze(mask))
    assert jax.tree.map(lambda leaf: leaf.dtype == jnp.bfloat16, some) == mask
    assert model.param_dtype == jnp.float32
    assert model(**inputs, params=half).logits_per_image.dtype == jnp.bfloat16
    model.params = half
    assert model.param_dtype == jnp.bfloat16


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_computation_has_a_dtype_of_its_own(dtype):
    model = clip_flax.CLIPModel(tiny_config(**SHALLOW), dtype=dtype)
    ids, mask = token_ids()
    outputs = model(ids, pixel_values(4), mask)
    assert model.dtype == dtype
    assert model.param_dtype == jnp.float32
    assert outputs.text_model_output.last_hidden_state.dtype == dtype
    assert outputs.vision_model_output.pooler_output.dtype == dtype
    assert outputs.logits_per_image.dtype == jnp.float32  # the comparison is in the parameters' dtype
    single = clip_flax.CLIPModel(model.config)(ids, pixel_values(4), mask)
    np.testing.assert_allclose(outputs.logits_per_image, single.logits_per_image, **HALF_PRECISION_LOGITS)
    assert not np.array_equal(outputs.logits_per_image, single.logits_per_image)
    with pytest.raises(ValueError, match=naming("'int8'", "float32")):
        clip_flax.CLIPModel(tiny_config(**SHALLOW), dtype="int8")


# Without weights


def test_a_model_without_weights_runs_on_those_given():
    model = clip_flax.CLIPModel(tiny_config(**SHALLOW), _do_init=False)
    assert all(
        isinstance(variable.get_value(), jax.ShapeDtypeStruct) for variable in structure_of(model).variables.values()
    )
    _, inputs = model_and_inputs("CLIPModel")
    with pytest.raises(ValueError, match=naming("_do_init=False", "params")):
        model(**inputs)
    with pytest.raises(ValueError, match=naming("_do_init=False", "params")):
        model.params = {}
    drawn = model.init_weights(jax.random.PRNGKey(0), ((1, 1), (1, 30, 30, 2)))
    assert_same(drawn, (made := clip_flax.CLIPModel(model.config)).params)
    assert_same(model(**inputs, params=drawn), made(**inputs))
    assert jax.tree.map(lambda leaf: leaf.shape, model.params_shape_tree) == jax.tree.map(jnp.shape, drawn)


def test_init_weights_is_pure_and_draws_only_what_is_missing():
    model, _ = model_and_inputs("CLIPModel")
    drawn = model.init_weights(jax.random.key(7))
    assert not np.array_equal(drawn["text_projection"]["kernel"], model.params["text_projection"]["kernel"])
    assert_same(jax.jit(model.init_weights)(jax.random.key(7)), drawn)
    kept = model.params
    del kept["text_projection"]
    filled = model.init_weights(jax.random.key(7), params=freeze(kept))
    assert np.array_equal(filled["text_projection"]["kernel"], drawn["text_projection"]["kernel"])
    assert filled["visual_projection"]["kernel"] is kept["visual_projection"]["kernel"]


# Transformations


@pytest.mark.parametrize("class_name", ["CLIPTextModel", "CLIPForImageClassification"])
def test_grad_agrees_with_differences(class_name):
    model, inputs = model_and_inputs(class_name)
    loss = objective(model, inputs)
    gradients = jax.grad(loss)(model.params)
    assert jax.tree.structure(gradients) == jax.tree.structure(model.params)
    direction = jax.tree.map(lambda gradient: gradient / optax.tree.norm(gradients), gradients)
    step = 1e-3

    def at(sign):
        return loss(jax.tree.map(lambda leaf, slope: leaf + sign * step * slope, model.params, direction))

    assert (at(1) - at(-1)) / (2 * step) == pytest.approx(float(optax.tree.norm(gradients)), rel=DIFFERENCE_QUOTIENT)


def test_an_ensemble_by_vmap_over_params():
    model, inputs = model_and_inputs("CLIPModel")
    members = [clip_flax.CLIPModel(model.config, seed=seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(member.params for member in members))
    together = jax.vmap(lambda params: model(**inputs, params=params).logits_per_image)(stacked)
    assert_same(together, jnp.stack([member(**inputs).logits_per_image for member in members]))


def test_checkpoint():
    model, inputs = model_and_inputs("CLIPTextModel")
    loss = objective(model, inputs)
    expected = jax.grad(loss)(model.params)
    assert_same(jax.grad(jax.checkpoint(loss))(model.params), expected, CHECKPOINTED_GRADIENTS)
    model.enable_gradient_checkpointing()  # as in transformers' Flax models
    assert model.is_gradient_checkpointing
    assert_same(jax.grad(loss)(model.params), expected, CHECKPOINTED_GRADIENTS)
