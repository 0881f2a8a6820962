"""Loading and saving in Flax: every class, format and dtype."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import clip_flax
from clip_core.modeling.parameters import MODEL_CLASSES
from clip_flax.tensors import canonical_entries
from converters.checkpoint import CheckpointError, open_checkpoint
from support.configs import pixel_values, tiny_config, token_ids
from support.entries import assert_same
from support.messages import naming
from support.tolerances import DRAWN_WEIGHTS


def build(class_name="CLIPModel", **config):
    return getattr(clip_flax, class_name)(tiny_config(**config))


@pytest.fixture
def model():
    return build()


@pytest.fixture
def folder(model, tmp_path):
    model.save_pretrained(tmp_path)
    return tmp_path


def assert_equal(one, other):
    """Two models, or their parameters, are the same to the bit."""
    one, other = (canonical_entries(getattr(some, "params", some)) for some in (one, other))
    assert_same(one, other)


@pytest.mark.parametrize("class_name", MODEL_CLASSES)
@pytest.mark.parametrize("options", [{}, {"safe_serialization": False}, {"max_shard_size": "40KB"}])
def test_every_class_comes_back_as_it_was_saved(class_name, options, tmp_path):
    model = build(class_name, num_labels=3)
    model.save_pretrained(tmp_path, **options)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [class_name]
    assert (tmp_path / "flax_model.msgpack").exists() == ("safe_serialization" in options)
    assert_equal(getattr(clip_flax, class_name).from_pretrained(tmp_path), model)


def test_safetensors_hold_canonical_names_and_layouts(folder, model):
    entries = open_checkpoint(folder, format="safetensors").entries
    assert_same(entries, canonical_entries(model.params))
    kernel = model.vision_model.embeddings.patch_embedding.kernel.get_value()
    stored = entries["vision_model.embeddings.patch_embedding.weight"].load()
    assert np.array_equal(stored, np.transpose(kernel, (3, 2, 0, 1)))


def test_params_may_be_saved_in_place_of_the_models(model, tmp_path):
    other = clip_flax.CLIPModel(tiny_config(), seed=4)
    model.save_pretrained(tmp_path, model.to_fp16(other.params))
    assert_equal(clip_flax.CLIPModel.from_pretrained(tmp_path), other.to_fp16(other.params))
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float16"
    lacking = other.params
    del lacking["logit_scale"]
    with pytest.raises(ValueError, match=naming("params", "logit_scale")):
        model.save_pretrained(tmp_path, params=lacking)


@pytest.mark.parametrize("class_name", MODEL_CLASSES)
def test_a_full_checkpoint_serves_every_class(model, folder, class_name):
    if class_name == "CLIPForImageClassification":
        with pytest.warns(
            UserWarning, match=naming("CLIPForImageClassification", "classifier.weight", "classifier.bias")
        ):
            loaded = clip_flax.CLIPForImageClassification.from_pretrained(folder, num_labels=5)
        assert loaded(pixel_values()).logits.shape == (3, 5)
        assert loaded.classifier.kernel.get_value().any()
    else:
        loaded = getattr(clip_flax, class_name).from_pretrained(folder)
    full = canonical_entries(model.params)
    for name, entry in canonical_entries(loaded.params).items():
        assert name.startswith("classifier") or np.array_equal(entry.load(), full[name].load())


def test_missing_and_unexpected_weights_can_be_pardoned(model, folder):
    weights = {name: entry.load() for name, entry in canonical_entries(model.params).items()}
    renamed = {name.replace("layers.1.mlp", "layers.1.mlp_old"): array for name, array in weights.items()}
    options = {"config": model.config, "state_dict": renamed}
    with pytest.raises(CheckpointError, match=naming(8, "text_model.encoder.layers.1.mlp.fc1.weight")):
        clip_flax.CLIPModel.from_pretrained(None, **options)
    with pytest.warns(UserWarning, match=naming("CLIPModel", "text_model.encoder.layers.1.mlp.fc1.weight")):
        loaded, info = clip_flax.CLIPModel.from_pretrained(
            None, **options, seed=5, strict=False, output_loading_info=True
        )
    assert len(info["missing_keys"]) == len(info["unexpected_keys"]) == 8
    fresh, old = (loaded.text_model.encoder.layers[index].mlp.fc1.kernel for index in (1, 0))
    assert fresh.std() == pytest.approx(1.5 * 80**-0.5, rel=DRAWN_WEIGHTS)
    assert not np.array_equal(fresh[...], model.text_model.encoder.layers[1].mlp.fc1.kernel[...])
    assert np.array_equal(old[...], model.text_model.encoder.layers[0].mlp.fc1.kernel[...])


def test_mismatched_sizes_are_an_error_unless_ignored(folder):
    with pytest.raises(CheckpointError, match=naming("text_projection.weight", (24, 40), (9, 40))):
        clip_flax.CLIPModel.from_pretrained(folder, projection_dim=9)
    with pytest.warns(UserWarning, match=naming("visual_projection.weight", "text_projection.weight")):
        loaded = clip_flax.CLIPModel.from_pretrained(folder, projection_dim=9, ignore_mismatched_sizes=True)
    assert loaded.text_projection.kernel.shape == (40, 9)


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
def test_parameters_get_a_dtype_of_their_own_where_asked(model, tmp_path, stored, asked):
    params = model.params if stored == "float32" else model.to_bf16(model.params)
    model.save_pretrained(tmp_path, params=params)
    loaded = clip_flax.CLIPModel.from_pretrained(tmp_path, param_dtype=asked)
    wanted = stored if asked == "auto" else asked
    assert {leaf.dtype.name for leaf in jax.tree.leaves(loaded.params)} == {wanted}
    assert loaded.dtype == jnp.float32


@pytest.mark.parametrize("dtype", ["int8", "float17", jnp.int32, 3])
@pytest.mark.parametrize("keyword", ["dtype", "param_dtype"])
def test_a_dtype_that_is_none_is_refused(folder, dtype, keyword):
    with pytest.raises(ValueError, match=naming(repr(dtype), "float32")):
        clip_flax.CLIPModel.from_pretrained(folder, **{keyword: dtype})


@pytest.mark.parametrize("class_name", MODEL_CLASSES)
def test_without_init_the_model_and_its_params_come_apart(class_name, tmp_path):
    model = build(class_name, num_labels=3)
    model.save_pretrained(tmp_path)
    empty, params = getattr(clip_flax, class_name).from_pretrained(tmp_path, _do_init=False)
    assert_equal(params, model)
    with pytest.raises(ValueError, match=naming("_do_init=False", "params")):
        empty.params  # noqa: B018
    inputs = {"input_ids": token_ids()[0]} if "Text" in class_name else {"pixel_values": pixel_values(4)}
    if class_name == "CLIPModel":
        inputs["input_ids"] = token_ids()[0]
    assert np.array_equal(empty(**inputs, params=params)[0], model(**inputs)[0])
    empty.save_pretrained(tmp_path / "again", params=params)
    assert_equal(getattr(clip_flax, class_name).from_pretrained(tmp_path / "again"), model)


def test_without_init_what_the_checkpoint_lacks_is_left_to_init_weights(folder):
    with pytest.warns(UserWarning, match=naming("CLIPForImageClassification", "classifier.weight", "classifier.bias")):
        empty, params = clip_flax.CLIPForImageClassification.from_pretrained(folder, num_labels=5, _do_init=False)
    assert "classifier" not in params
    params = empty.init_weights(jax.random.key(0), params=params)
    assert params["classifier"]["kernel"].shape == (36, 5)
    assert empty(pixel_values(), params=params).logits.shape == (3, 5)


def test_config_fields_and_the_attention_are_set_by_keyword(folder):
    loaded = clip_flax.CLIPModel.from_pretrained(folder, attn_implementation="eager", output_attentions=True)
    output = loaded(token_ids()[0], pixel_values(4))
    assert len(output.vision_model_output.attentions) == 2
    assert loaded.config.text_config.attn_implementation == "eager"


def test_a_config_may_be_given_in_place_of_the_files(model, folder):
    config = tiny_config({"hidden_act": "relu"})
    loaded = clip_flax.CLIPModel.from_pretrained(folder, config=config, output_hidden_states=True)
    assert loaded.config.output_hidden_states
    assert loaded.config.text_config.hidden_act == "relu"
    assert not config.output_hidden_states  # the caller's own stays as it is
    (folder / "config.json").rename(folder / "other.json")
    assert_equal(clip_flax.CLIPModel.from_pretrained(folder, config=folder / "other.json"), model)


def test_keywords_that_nothing_takes_are_named_and_those_of_the_reference_taken(model, folder):
    with pytest.raises(TypeError, match=naming("CLIPModel.from_pretrained", "num_layer")):
        clip_flax.CLIPModel.from_pretrained(folder, num_layer=3)
    with pytest.raises(TypeError, match=naming("save_pretrained", "safe")):
        model.save_pretrained(folder, safe=True)
    clip_flax.CLIPModel.from_pretrained(folder, from_pt=True, input_shape=((1, 1), (1, 30, 30, 2)), seed=2)
    model.save_pretrained(folder, None, False, "10GB", None)


def test_only_the_main_process_writes(model, tmp_path):
    model.save_pretrained(tmp_path / "none", is_main_process=False)
    assert not (tmp_path / "none").exists()


def test_saving_over_the_files_that_were_loaded(model, folder):
    loaded = clip_flax.CLIPModel.from_pretrained(folder)
    loaded.logit_scale[...] = 3.0
    loaded.save_pretrained(folder)
    model.logit_scale[...] = 3.0
    assert_equal(clip_flax.CLIPModel.from_pretrained(folder), model)
    assert_equal(loaded, model)


@pytest.mark.parametrize("file", ["model.safetensors", "flax_model.msgpack"])
def test_training_a_loaded_model_does_not_touch_its_file(model, tmp_path, file):
    model.save_pretrained(tmp_path, safe_serialization=file.endswith("safetensors"))
    before = (tmp_path / file).read_bytes()
    loaded = clip_flax.CLIPModel.from_pretrained(tmp_path)
    step = jax.jit(lambda params: jax.tree.map(lambda leaf: leaf + 1.0, params), donate_argnums=0)
    loaded.params = step(loaded.params)
    jax.block_until_ready(loaded.params)
    assert (tmp_path / file).read_bytes() == before
    assert_equal(clip_flax.CLIPModel.from_pretrained(tmp_path), model)
