"""`model.params`, and calls that are pure functions of it under JAX's transformations; and the model as a module."""

from __future__ import annotations

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.core import freeze

import clip_flax
from clip_core.modeling.parameters import MODEL_CLASSES, parameter_table
from clip_flax import structure
from clip_flax.structure import structure_of
from clip_flax.tensors import flatten
from converters.naming.names import to_file
from converters.naming.rules import FLAX
from converters.tensors import TensorEntry
from support.configs import SHALLOW, inputs_for, pixel_values, tiny_config, token_ids
from support.flax_models import build
from support.messages import naming
from support.tolerances import (
    CHECKPOINTED_GRADIENTS,
    DIFFERENCE_QUOTIENT,
    FLOAT32,
    FLOAT32_OPERATION,
    HALF_PRECISION_LOGITS,
    SUMMED_GRADIENTS,
)


def model_and_inputs(class_name):
    """A model of one layer in each tower, because compiling takes most of the time, and inputs."""
    return build(class_name, **SHALLOW), inputs_for(class_name)


def assert_same(ours, expected, tolerance=FLOAT32):
    assert jax.tree.structure(ours) == jax.tree.structure(expected)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, **tolerance), ours, expected)


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


@pytest.mark.parametrize("class_name", MODEL_CLASSES)
def test_jit(class_name):
    model, inputs = model_and_inputs(class_name)
    run = jax.jit(lambda params, inputs: model(**inputs, params=params, output_hidden_states=True))
    assert_same(run(model.params, inputs), model(**inputs, output_hidden_states=True))


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


def test_per_sample_gradients_by_vmap():
    model, inputs = model_and_inputs("CLIPVisionModel")

    def loss(params, picture):
        return jnp.square(model(picture[None], params=params).pooler_output).sum()

    per_sample = jax.vmap(jax.grad(loss), in_axes=(None, 0))(model.params, inputs["pixel_values"])
    whole = jax.grad(lambda params: sum(loss(params, picture) for picture in inputs["pixel_values"]))(model.params)
    assert_same(jax.tree.map(lambda leaf: leaf.sum(0), per_sample), whole, SUMMED_GRADIENTS)


def test_an_ensemble_by_vmap_over_params():
    model, inputs = model_and_inputs("CLIPModel")
    members = [clip_flax.CLIPModel(model.config, seed=seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(member.params for member in members))
    together = jax.vmap(lambda params: model(**inputs, params=params).logits_per_image)(stacked)
    assert_same(together, jnp.stack([member(**inputs).logits_per_image for member in members]))


def test_checkpoint():
    model, inputs = model_and_inputs("CLIPTextModel")
    loss = objective(model, inputs)
    assert_same(jax.grad(jax.checkpoint(loss))(model.params), jax.grad(loss)(model.params), CHECKPOINTED_GRADIENTS)


@pytest.mark.parametrize("class_name", MODEL_CLASSES)
def test_export_with_a_batch_of_any_size(class_name):
    model, inputs = model_and_inputs(class_name)
    (batch,) = jax.export.symbolic_shape("batch")
    shapes = {
        name: jax.ShapeDtypeStruct((batch, *array.shape[1:]), jnp.asarray(array).dtype)
        for name, array in inputs.items()
    }
    function = jax.jit(lambda params, inputs: model(**inputs, params=params))
    exported = jax.export.export(function)(model.params_shape_tree, shapes)
    again = jax.export.deserialize(exported.serialize())
    others = inputs_for(class_name, 7)
    others = {name: jnp.asarray(array) for name, array in others.items()}
    assert_same(again.call(model.params, others), model(**others))


def test_a_trained_model_separates_its_pairs():
    model, inputs = model_and_inputs("CLIPModel")
    optimizer = optax.adam(1e-3)
    params = model.params
    state = optimizer.init(params)

    @jax.jit
    def step(params, state):
        loss, gradients = jax.value_and_grad(lambda p: model(**inputs, params=p, return_loss=True).loss)(params)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, updates), state, loss

    losses = []
    for _ in range(20):
        params, state, loss = step(params, state)
        losses.append(loss)
    assert losses[-1] < losses[0] / 3


# As a module


def test_split_and_merge():
    model, inputs = model_and_inputs("CLIPModel")
    graph, state = nnx.split(model)
    merged = nnx.merge(graph, state)
    assert isinstance(merged, clip_flax.CLIPModel)
    assert merged.config is model.config
    assert_same(merged(**inputs), model(**inputs))
    hash(graph)  # nnx.jit does


def test_nnx_grad_and_optimizer_train_the_model_itself():
    model, inputs = model_and_inputs("CLIPModel")
    optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)
    before = model.params

    def loss(model):
        return model(**inputs, return_loss=True).loss

    gradients = nnx.grad(loss)(model)
    expected = jax.grad(lambda params: model(**inputs, params=params, return_loss=True).loss)(before)
    assert_same(
        gradients["text_projection"]["kernel"].get_value(), expected["text_projection"]["kernel"], FLOAT32_OPERATION
    )

    @nnx.jit
    def step(model, optimizer):
        value, gradients = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradients)
        return value

    losses = [step(model, optimizer) for _ in range(20)]
    assert losses[-1] < losses[0] / 3
    assert loss(model) < losses[0] / 3
    assert not np.array_equal(model.params["logit_scale"], before["logit_scale"])


def test_the_graph_is_taken_apart_once_and_again_when_a_part_was_exchanged():
    model, inputs = build("CLIPTextModel"), inputs_for("CLIPTextModel")
    first = structure_of(model)
    model(**inputs)
    model.params = clip_flax.CLIPTextModel(tiny_config(), seed=3).params
    assert structure_of(model) is first
    before = model(**inputs).pooler_output
    attention = model.text_model.encoder.layers[1].self_attn
    attention.out_proj = nnx.Linear(40, 40, rngs=nnx.Rngs(0))
    assert structure_of(model) is not first
    assert not np.allclose(model(**inputs).pooler_output, before, **FLOAT32)
    model.text_model.encoder.layers[0].mlp.fc1.kernel = nnx.Param(jnp.zeros((40, 52)))
    assert not model.params["text_model"]["encoder"]["layers"]["0"]["mlp"]["fc1"]["kernel"].any()
    second = model(**inputs).pooler_output
    del model.text_model.encoder.layers[2]
    assert not np.allclose(model(**inputs).pooler_output, second, **FLOAT32)


def test_a_call_checks_the_structure_once(monkeypatch):
    model, inputs = model_and_inputs("CLIPModel")
    model(**inputs)
    checks, is_current = [], structure.Structure.is_current
    monkeypatch.setattr(structure.Structure, "is_current", lambda self: checks.append(self) or is_current(self))
    model(**inputs)
    assert len(checks) == 1
    model.get_text_features(**{name: inputs[name] for name in ("input_ids", "attention_mask")})
    model.get_image_features(inputs["pixel_values"], params=model.params)
    assert len(checks) == 4  # one of them for `params`


def test_lora_can_be_put_into_a_model():
    model, inputs = model_and_inputs("CLIPTextModel")
    before = model(**inputs).pooler_output
    attention = model.text_model.encoder.layers[0].self_attn
    attention.q_proj = nnx.LoRA(40, 2, 40, base_module=attention.q_proj, rngs=nnx.Rngs(0))
    assert_same(model(**inputs).pooler_output, before)  # LoRA starts as nothing
    gradients = nnx.grad(
        lambda model: jnp.square(model(**inputs).pooler_output).sum(), argnums=nnx.DiffState(0, nnx.LoRAParam)
    )(model)
    assert sum(bool(leaf.any()) for leaf in jax.tree.leaves(gradients)) == 1  # of the two, that which is zero


def test_a_change_of_the_configuration_counts_at_the_next_call():
    model, inputs = model_and_inputs("CLIPTextModel")
    before = model(**inputs).pooler_output
    model.config.eos_token_id = 2
    assert not np.array_equal(model(token_ids()[0][:, ::-1]).pooler_output, before)
    model.config.output_hidden_states = True
    assert len(model(**inputs).hidden_states) == 2


def test_a_model_is_freed_with_what_was_compiled_for_it():
    model, inputs = model_and_inputs("CLIPTextModel")
    model(**inputs)
    known, gone = len(structure._structures), weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
    assert len(structure._structures) < known


def test_inputs_of_other_kinds_are_taken():
    model, inputs = model_and_inputs("CLIPModel")
    expected = model(**inputs)
    lists = {name: array.tolist() for name, array in inputs.items()}
    assert_same(model(**lists), expected)
    assert_same(model(**{name: jnp.asarray(array) for name, array in inputs.items()}), expected)
    assert_same(model(inputs["input_ids"], inputs["pixel_values"], inputs["attention_mask"]), expected)


def test_ids_that_only_a_compiled_function_sees_are_not_looked_at_and_make_nan():
    model, _ = model_and_inputs("CLIPTextModel")
    outputs = jax.jit(lambda ids: model(ids).pooler_output)(np.array([[5, 99, 97], [5, 98, 97]]))
    assert jnp.isnan(outputs[0]).all()
    assert jnp.isfinite(outputs[1]).all()
