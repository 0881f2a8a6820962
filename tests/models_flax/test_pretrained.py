"""Loading and saving in Flax: models apart from their params, and the dtypes of params and of the computation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import clip_flax
from clip_core.modeling.parameters import MODEL_CLASSES
from clip_flax.tensors import canonical_entries
from converters.checkpoint import open_checkpoint
from support.backends import FLAX
from support.configs import inputs_for, pixel_values, tiny_config, token_ids
from support.entries import assert_same
from support.flax_models import build
from support.messages import naming

BACKEND = FLAX


@pytest.fixture
def model():
    return build()


def assert_equal(one, other):
    """Check that two models, or their parameters, are the same to the bit."""
    one, other = (canonical_entries(getattr(some, "params", some)) for some in (one, other))
    assert_same(one, other)


def test_safetensors_hold_canonical_names_and_layouts(plain):
    model, folder = plain
    entries = open_checkpoint(folder, format="safetensors").entries
    assert_same(entries, canonical_entries(model.params))
    kernel = model.vision_model.embeddings.patch_embedding.kernel.get_value()
    stored = entries["vision_model.embeddings.patch_embedding.weight"].load()
    assert np.array_equal(stored, np.transpose(kernel, (3, 2, 0, 1)))


@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("asked", ["float32", "auto", "bfloat16", jnp.float16])
def test_the_computations_dtype_is_as_asked_and_parameters_keep_theirs(model, tmp_path, stored, asked):
    cast = {"float32": model.to_fp32, "float16": model.to_fp16, "bfloat16": model.to_bf16}[stored]
    model.save_pretrained(tmp_path, params=cast(model.params))
    loaded = clip_flax.CLIPModel.from_pretrained(tmp_path, asked)
    wanted = jnp.dtype(stored if asked == "auto" else asked)
    assert loaded.dtype == wanted
    assert_equal(loaded, cast(model.params))
    output = loaded(token_ids()[0], pixel_values(4))
    assert output.text_model_output.last_hidden_state.dtype == wanted
    assert jnp.isfinite(output.logits_per_image).all()


@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
@pytest.mark.parametrize("asked", ["float32", "auto", "float16"])
def test_the_dtype_of_parameters_leaves_that_of_the_computation(model, tmp_path, stored, asked):
    model.save_pretrained(tmp_path, params=model.params if stored == "float32" else model.to_bf16(model.params))
    loaded = clip_flax.CLIPModel.from_pretrained(tmp_path, param_dtype=asked)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(loaded.params)} == {stored if asked == "auto" else asked}
    assert loaded.dtype == jnp.float32


@pytest.mark.parametrize("class_name", MODEL_CLASSES)
def test_without_init_the_model_and_its_params_come_apart(class_name, tmp_path):
    model = build(class_name)
    model.save_pretrained(tmp_path)
    empty, params = getattr(clip_flax, class_name).from_pretrained(tmp_path, _do_init=False)
    assert_equal(params, model)
    with pytest.raises(ValueError, match=naming("_do_init=False", "params")):
        empty.params  # noqa: B018
    inputs = inputs_for(class_name)
    assert np.array_equal(empty(**inputs, params=params)[0], model(**inputs)[0])
    empty.save_pretrained(tmp_path / "again", params=params)
    assert_equal(getattr(clip_flax, class_name).from_pretrained(tmp_path / "again"), model)


def test_without_init_what_the_checkpoint_lacks_is_left_to_init_weights(plain):
    with pytest.warns(
        UserWarning, match=naming("FlaxCLIPForImageClassification", "classifier.weight", "classifier.bias")
    ):
        empty, params = clip_flax.CLIPForImageClassification.from_pretrained(plain[1], num_labels=5, _do_init=False)
    assert "classifier" not in params
    params = empty.init_weights(jax.random.key(0), params=params)
    assert params["classifier"]["kernel"].shape == (36, 5)
    assert empty(pixel_values(), params=params).logits.shape == (3, 5)


def test_the_references_keywords_and_positions_are_taken(plain):
    model, folder = plain
    clip_flax.CLIPModel.from_pretrained(folder, from_pt=True, input_shape=((1, 1), (1, 30, 30, 2)), seed=2)
    model.save_pretrained(folder, None, False, "10GB", None)


@pytest.mark.parametrize("asked", ["bfloat16", "float32", jnp.float16, {"": "bfloat16"}])
def test_torch_dtype_is_stated_in_the_configuration_alone_as_in_the_reference(plain, asked):
    name = jnp.dtype(asked[""] if isinstance(asked, dict) else asked).name
    for options in ({}, {"config": tiny_config()}, {"_do_init": False}):
        found = clip_flax.FlaxCLIPModel.from_pretrained(plain[1], torch_dtype=asked, **options)
        loaded, params = found if "_do_init" in options else (found, found.params)
        assert loaded.config.torch_dtype == loaded.config.dtype == name
        assert loaded.dtype == params["logit_scale"].dtype == "float32"


def test_a_torch_dtype_that_is_none_is_refused(plain):
    with pytest.raises(ValueError, match=naming("'float17'", "float32")):
        clip_flax.CLIPModel.from_pretrained(plain[1], torch_dtype="float17")


def test_params_that_the_model_lacks_are_named_and_nothing_is_written(model, tmp_path):
    params = {**model.params, "head": {"kernel": jnp.ones(3)}, "ema": jnp.ones(2)}
    with pytest.raises(ValueError, match=naming("ema", "head/kernel", clip_flax.CLIPModel)):
        model.save_pretrained(tmp_path / "saved", params=params)
    assert not (tmp_path / "saved").exists()
