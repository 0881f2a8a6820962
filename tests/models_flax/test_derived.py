"""Subclasses in Flax, and what transformers' models offer there."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from flax import nnx

from clip_flax import FlaxCLIPModel, FlaxCLIPTextModel, FlaxCLIPVisionModel
from converters.checkpoint import CheckpointError
from support.backends import FLAX
from support.configs import inputs_for, tiny_config
from support.derived import regularized
from support.messages import naming
from support.tolerances import FLOAT32

BACKEND = FLAX

PIXELS = inputs_for("CLIPVisionModel")["pixel_values"]


class Added(FlaxCLIPModel):
    """A class that adds to the whole model, by `setup`."""

    def setup(self, rngs):
        super().setup(rngs)
        self.head = nnx.Linear(24, 4, rngs=rngs)


def test_nnx_transforms_a_model_of_a_class(plain):
    with pytest.warns(UserWarning, match=naming("Regularized")):
        model = regularized("flax").from_pretrained(plain[1])
    outputs = nnx.jit(lambda model, pixels: model(pixels))(model, PIXELS)
    np.testing.assert_array_equal(outputs.shape, (4, 3))
    gradients = nnx.grad(lambda model: model(PIXELS).sum())(model)
    assert np.abs(gradients["clip"]["visual_projection"]["kernel"].get_value()).max() > 0


class Spread(nnx.Module):
    """A text tower of a user's own that pools at the mean of all tokens, padding included."""

    def __init__(self, tower):
        self.tower = tower

    def __call__(self, input_ids, **options):
        outputs = self.tower(input_ids, **options)
        return outputs.replace(pooler_output=outputs.last_hidden_state.mean(axis=1))


def test_a_text_tower_of_a_users_own_reads_every_token(plain):
    model, ids = plain[0], inputs_for("CLIPTextModel")["input_ids"]
    expected = model.text_projection(model.text_model(ids).last_hidden_state.mean(axis=1))
    model.text_model = Spread(model.text_model)
    features, whole = model.get_text_features(ids), model(ids, PIXELS).text_embeds
    np.testing.assert_allclose(features, expected, **FLOAT32)
    np.testing.assert_allclose(whole, expected / np.linalg.norm(expected, axis=-1, keepdims=True), **FLOAT32)


def test_parameters_of_a_class_are_kept_apart(plain, tmp_path):
    with pytest.warns(UserWarning, match=naming("Added", "head.weight")):
        Added.from_pretrained(plain[1]).save_pretrained(tmp_path / "saved")
    model, params = Added.from_pretrained(tmp_path / "saved", _do_init=False)
    features = model.get_image_features(PIXELS, params=params)
    assert np.array_equal(features, plain[0].get_image_features(PIXELS))
    assert params["head"]["kernel"].shape == (24, 4)
    with pytest.raises(ValueError, match=naming("_do_init")):
        model.get_image_features(PIXELS)


def test_a_model_without_weights_has_the_key_and_the_shapes_to_draw_them_with(plain):
    model = FlaxCLIPModel(tiny_config(), _do_init=False)
    params = model.init_weights(model.key, model.input_shape)
    assert model.input_shape == ((1, 1), (1, 30, 30, 2))
    features = model.get_image_features(PIXELS, params=params)
    assert np.array_equal(features, plain[0].get_image_features(PIXELS))
    assert FlaxCLIPTextModel(tiny_config(), _do_init=False).input_shape == (1, 1)
    assert FlaxCLIPVisionModel(tiny_config(), (1, 2), 3, _do_init=False).input_shape == (1, 2)
    for seed in (5, jax.random.PRNGKey(5)):
        assert np.array_equal(FlaxCLIPModel(tiny_config(), seed=seed, _do_init=False).key, jax.random.PRNGKey(5))
    by_key = FlaxCLIPModel(tiny_config(), seed=jax.random.key(0)).params
    assert np.array_equal(by_key["visual_projection"]["kernel"], params["visual_projection"]["kernel"])


def test_parameters_with_gaps_are_saved_and_the_gaps_start_afresh(plain, tmp_path):
    model, _ = plain
    params = {name: leaf for name, leaf in model.params.items() if name != "logit_scale"}
    model.save_pretrained(tmp_path / "gaps", params=params)
    with pytest.raises(CheckpointError, match=naming("logit_scale")):
        FlaxCLIPModel.from_pretrained(tmp_path / "gaps")
    with pytest.warns(UserWarning, match=naming("logit_scale")):
        again, info = FlaxCLIPModel.from_pretrained(tmp_path / "gaps", strict=False, output_loading_info=True)
    assert info["missing_keys"] == ["logit_scale"]
    with pytest.warns(UserWarning, match=naming("logit_scale", "init_weights")):
        empty, found = FlaxCLIPModel.from_pretrained(tmp_path / "gaps", _do_init=False)
    with pytest.raises(ValueError, match=naming("logit_scale")):
        empty.get_image_features(PIXELS, params=found)
    filled = empty.init_weights(empty.key, empty.input_shape, params=found)
    assert np.array_equal(filled["logit_scale"], model.params["logit_scale"])
    assert np.array_equal(again.get_image_features(PIXELS), model.get_image_features(PIXELS))
    with pytest.raises(ValueError, match=naming("params")):
        model.save_pretrained(tmp_path / "nothing", params={})
