"""The models as modules of Linen."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

import clip_flax
from clip_core.modeling.parameters import MODEL_CLASSES
from support.configs import SHALLOW, inputs_for, tiny_config
from support.messages import naming
from support.tolerances import FLOAT32


def build(class_name, **options):
    return getattr(clip_flax, class_name)(tiny_config(num_labels=3, **SHALLOW), **options)


def assert_equal(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("class_name", MODEL_CLASSES)
def test_a_module_computes_what_its_model_does(class_name):
    model, inputs = build(class_name), inputs_for(class_name)
    output = model.module.apply({"params": model.params}, **inputs, output_hidden_states=True, return_dict=True)
    assert_equal(output, model(**inputs, output_hidden_states=True))
    name = f"Flax{class_name.removesuffix('Model')}Module"
    assert type(model.module) is getattr(clip_flax, name)
    assert type(model).__module__ == type(model.module).__module__ == "clip_flax"


def test_a_module_draws_its_parameters():
    model, inputs = build("CLIPModel"), inputs_for("CLIPModel")
    module = clip_flax.FlaxCLIPModule(model.config)
    drawn = module.init(jax.random.key(1), **inputs)
    assert jax.tree.map(jnp.shape, drawn["params"]) == jax.tree.map(jnp.shape, model.params)
    assert_equal(module.apply(drawn, **inputs), model(**inputs, params=drawn["params"]))


class Classifier(linen.Module):
    """A module that holds a tower, as in transformers' examples."""

    config: clip_flax.CLIPVisionConfig

    @linen.compact
    def __call__(self, pixel_values, deterministic=True):
        tower = clip_flax.FlaxCLIPVisionModule(self.config, name="vision_tower")
        return linen.Dense(2)(tower(pixel_values, deterministic=deterministic).pooler_output)


def test_a_module_is_a_part_of_another_under_jit_and_grad():
    model, pixels = build("CLIPVisionModel"), inputs_for("CLIPVisionModel")["pixel_values"]
    classifier = Classifier(model.config)
    params = jax.jit(classifier.init)(jax.random.key(0), pixels)["params"]
    tower = params["vision_tower"]
    head = params["Dense_0"]
    expected = model(pixels, params=tower).pooler_output @ head["kernel"] + head["bias"]
    assert_equal(jax.jit(classifier.apply)({"params": params}, pixels), expected)
    gradients = jax.grad(lambda params: classifier.apply({"params": params}, pixels).sum())(params)
    layer = gradients["vision_tower"]["vision_model"]["encoder"]["layers"]["0"]
    assert np.abs(layer["mlp"]["fc1"]["kernel"]).max() > 0


def test_a_module_drops_attention_weights_by_its_key():
    config = tiny_config({"attention_dropout": 0.5, "num_hidden_layers": 1})
    model, inputs = clip_flax.CLIPTextModel(config), inputs_for("CLIPTextModel")
    variables = {"params": model.params}
    plain = model.module.apply(variables, **inputs)
    dropped = model.module.apply(variables, **inputs, deterministic=False, rngs={"dropout": jax.random.key(0)})
    assert not np.allclose(plain.last_hidden_state, dropped.last_hidden_state, **FLOAT32)
    with pytest.raises(ValueError, match=naming("train", "dropout_rng")):
        model.module.apply(variables, **inputs, deterministic=False)


def test_a_module_names_the_parameters_that_are_missing():
    model, inputs = build("CLIPTextModel"), inputs_for("CLIPTextModel")
    params = model.params
    del params["text_model"]["final_layer_norm"]["bias"]
    with pytest.raises(ValueError, match=naming("text_model/final_layer_norm/bias")):
        model.module.apply({"params": params}, **inputs)


class Derived(clip_flax.FlaxCLIPTextModel):
    """A subclass of a user."""


def test_a_subclass_has_no_module_but_itself():
    with pytest.raises(AttributeError, match=naming("Derived", "Linen")):
        Derived(tiny_config()).module  # noqa: B018
