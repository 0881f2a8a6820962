"""Loading and saving in TensorFlow: every class, format and dtype."""

from __future__ import annotations

import json

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

import clip_tf
from clip_core.modeling.parameters import MODEL_CLASSES
from clip_tf.tensors import adopt
from converters.checkpoint import CheckpointError, open_checkpoint
from support.configs import tiny_config
from support.entries import assert_same
from support.messages import naming
from support.tf_models import assert_close, build, inputs_for
from support.tolerances import FLOAT32


@pytest.mark.parametrize("class_name", MODEL_CLASSES)
@pytest.mark.parametrize("options", [{}, {"safe_serialization": False}, {"max_shard_size": "40KB"}])
def test_every_class_comes_back_as_it_was_saved(class_name, options, tmp_path):
    model, inputs = build(class_name), inputs_for(class_name)
    model.save_pretrained(tmp_path, **options)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [class_name]
    assert (tmp_path / "tf_model.h5").exists() == ("safe_serialization" in options)
    loaded = getattr(clip_tf, class_name).from_pretrained(tmp_path)
    assert_close(loaded(inputs), model(inputs), tolerance=0)


def test_the_reference_reads_our_h5(tmp_path, oracle):
    model, inputs = build(), inputs_for("CLIPModel")
    model.save_pretrained(tmp_path, safe_serialization=False)
    theirs = oracle(
        "oracle_native.forward_native", folder=str(tmp_path), library="TF", class_name="CLIPModel", inputs=inputs
    )
    assert np.abs(theirs["image_embeds"] - model(inputs).image_embeds).max() < 1e-5
    assert np.abs(theirs["text_embeds"] - model(inputs).text_embeds).max() < 1e-5


@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("asked", [None, "auto", "bfloat16", tf.float16, "mixed_bfloat16"])
def test_dtypes(tmp_path, stored, asked):
    build(dtype=stored).save_pretrained(tmp_path)
    wrote = np.dtype(getattr(ml_dtypes, stored, stored))
    assert {entry.dtype for entry in open_checkpoint(tmp_path).entries.values()} == {wrote}
    loaded = clip_tf.CLIPModel.from_pretrained(tmp_path, dtype=asked)
    kept = {None: "float32", "auto": stored, tf.float16: "float16", "mixed_bfloat16": "float32"}.get(asked, asked)
    assert {variable.dtype for variable in loaded.weights} == {kept}
    assert loaded.compute_dtype == ("bfloat16" if asked == "mixed_bfloat16" else kept)


@pytest.mark.parametrize("dtype", ["int8", "float17", tf.int64, 3])
def test_a_dtype_that_is_none_is_refused(dtype, tmp_path):
    build().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=naming(repr(dtype), "float32")):
        clip_tf.CLIPModel.from_pretrained(tmp_path, dtype=dtype)


def test_what_does_not_fit_is_one_error_or_starts_afresh(tmp_path):
    build().save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=naming(2, "classifier.weight", "classifier.bias")):
        clip_tf.CLIPForImageClassification.from_pretrained(tmp_path)
    with pytest.warns(UserWarning, match=naming("CLIPForImageClassification", "classifier.weight", "classifier.bias")):
        loaded = clip_tf.CLIPForImageClassification.from_pretrained(tmp_path, num_labels=5)
    assert loaded(inputs_for("CLIPForImageClassification")).logits.shape == (4, 5)
    assert loaded.classifier.kernel.numpy().std() > 0
    with pytest.raises(CheckpointError, match=naming("text_projection.weight", (24, 40), (9, 40))):
        clip_tf.CLIPModel.from_pretrained(tmp_path, projection_dim=9)
    with pytest.warns(UserWarning, match=naming("visual_projection.weight", "text_projection.weight")):
        _, info = clip_tf.CLIPModel.from_pretrained(
            tmp_path, projection_dim=9, ignore_mismatched_sizes=True, output_loading_info=True
        )
    assert info["mismatched_keys"][1] == ("text_projection.weight", (24, 40), (9, 40))


def test_weights_and_a_config_may_be_given_in_place_of_files(tmp_path):
    model = build()
    model.save_pretrained(tmp_path)
    weights = dict(open_checkpoint(tmp_path))
    loaded = clip_tf.CLIPModel.from_pretrained(None, config=tiny_config(), state_dict=weights)
    assert_close(loaded(inputs_for("CLIPModel")), model(inputs_for("CLIPModel")), tolerance=0)
    loaded.save_pretrained(tmp_path / "again", state_dict=weights)
    assert_same(open_checkpoint(tmp_path / "again"), weights)


def test_transformers_keywords_are_taken_and_others_named(tmp_path):
    build().save_pretrained(tmp_path)
    clip_tf.TFCLIPModel.from_pretrained(tmp_path, from_pt=True, low_cpu_mem_usage=True)
    with pytest.raises(TypeError, match=naming("CLIPModel.from_pretrained", "num_layer")):
        clip_tf.CLIPModel.from_pretrained(tmp_path, num_layer=3)


def test_a_saved_model_is_written_where_transformers_puts_it(tmp_path):
    model = build("CLIPVisionModel")
    model.save_pretrained(tmp_path, saved_model=True, version=7)
    served = tf.saved_model.load(tmp_path / "saved_model" / "7").signatures["serving_default"]
    pixels = inputs_for("CLIPVisionModel")["pixel_values"]
    assert np.allclose(served(pixel_values=pixels)["pooler_output"], model(pixels).pooler_output, **FLOAT32)


def test_saving_over_the_files_that_were_loaded(tmp_path):
    build().save_pretrained(tmp_path)
    loaded = clip_tf.CLIPModel.from_pretrained(tmp_path)
    loaded.logit_scale.assign(3.0)
    loaded.save_pretrained(tmp_path)
    assert open_checkpoint(tmp_path)["logit_scale"] == 3.0


@pytest.mark.parametrize("file", ["model.safetensors", "tf_model.h5"])
def test_training_a_loaded_model_does_not_touch_its_file(tmp_path, file):
    build().save_pretrained(tmp_path, safe_serialization=file.endswith("safetensors"))
    before = (tmp_path / file).read_bytes()
    loaded = clip_tf.CLIPModel.from_pretrained(tmp_path)
    old = [variable.numpy() for variable in loaded.weights]
    for variable in loaded.weights:
        variable.value.assign_add(tf.ones_like(variable))
    assert (tmp_path / file).read_bytes() == before
    for variable, values in zip(loaded.weights, old, strict=True):
        assert np.array_equal(variable.numpy(), values + 1)


def test_a_loaded_models_layers_can_be_described_and_made_anew(tmp_path):
    build().save_pretrained(tmp_path)
    layer = clip_tf.CLIPModel.from_pretrained(tmp_path).text_projection
    again = keras.layers.Dense.from_config(layer.get_config())
    again.build((None, 40))
    assert not again.kernel.numpy().any()


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("offset", range(0, 64, 4))
def test_memory_is_taken_over_wherever_it_begins(dtype, offset):
    memory = np.zeros(8 * 8 * 4 + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    array = memory[start : start + 64 * np.dtype(dtype).itemsize].view(dtype).reshape(8, 8)
    array[...] = np.eye(8)
    product = tf.matmul(adopt(array), tf.cast(tf.range(64), tf.as_dtype(array.dtype))[:, None][:8])
    assert product.numpy().astype(int)[:, 0].tolist() == list(range(8))
