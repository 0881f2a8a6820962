"""The model as a module of NNX, whole, in parts and with other parts in it; the inputs that it takes."""

from __future__ import annotations

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import clip_flax
from clip_flax import structure
from clip_flax.structure import structure_of
from support.configs import inputs_for, tiny_config
from support.flax_models import assert_same, build, model_and_inputs
from support.tolerances import FLOAT32, FLOAT32_OPERATION


def test_split_and_merge():
    model, inputs = model_and_inputs("CLIPModel")
    graph, state = nnx.split(model)
    merged = nnx.merge(graph, state)
    assert isinstance(merged, clip_flax.CLIPModel)
    assert merged.config is model.config
    assert_same(merged(**inputs), model(**inputs))
    hash(graph)  # nnx.jit does


def test_nnx_tabulates_every_layer_and_leaves_the_model_as_it_was():
    model, inputs = model_and_inputs("CLIPTextModel")
    before = model(**inputs).pooler_output
    table = nnx.tabulate(model, inputs["input_ids"], console_kwargs={"width": 300})
    assert "text_model/encoder/layers/0/self_attn/q_proj" in table
    np.testing.assert_array_equal(model(**inputs).pooler_output, before)


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


def test_a_model_is_freed_with_what_was_compiled_for_it():
    model, inputs = model_and_inputs("CLIPTextModel")
    model(**inputs)
    known, gone = len(structure._structures), weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
    assert len(structure._structures) < known


def test_inputs_may_be_lists():
    model, inputs = model_and_inputs("CLIPModel")
    expected = model(**inputs)
    lists = {name: array.tolist() for name, array in inputs.items()}
    assert_same(model(**lists), expected)


def test_ids_that_only_a_compiled_function_sees_are_not_looked_at_and_make_nan():
    model, _ = model_and_inputs("CLIPTextModel")
    outputs = jax.jit(lambda ids: model(ids).pooler_output)(np.array([[5, 99, 97], [5, 98, 97]]))
    assert jnp.isnan(outputs[0]).all()
    assert jnp.isfinite(outputs[1]).all()
