"""Loading and saving in TensorFlow: the reference reads the files, dtypes, SavedModel and memory."""

from __future__ import annotations

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

import clip_tf
from clip_tf.tensors import adopt
from support.configs import CLASSES, SHALLOW, inputs_for
from support.tf_models import build
from support.tolerances import EMBEDDINGS, FLOAT32


def test_the_reference_reads_our_h5(tmp_path, oracle):
    model, inputs = build(), inputs_for("CLIPModel")
    model.save_pretrained(tmp_path, safe_serialization=False)
    theirs = oracle(
        "oracle_native.forward_native", folder=str(tmp_path), library="TF", class_name="CLIPModel", inputs=inputs
    )
    assert np.abs(theirs["image_embeds"] - model(inputs).image_embeds).max() < EMBEDDINGS
    assert np.abs(theirs["text_embeds"] - model(inputs).text_embeds).max() < EMBEDDINGS


@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("asked", [None, "auto", "bfloat16", tf.float16, "mixed_bfloat16"])
def test_the_computations_dtype_is_the_weights_or_that_of_a_mixed_policy(tmp_path, stored, asked):
    build(dtype=stored).save_pretrained(tmp_path)
    loaded = clip_tf.CLIPModel.from_pretrained(tmp_path, dtype=asked)
    kept = {None: "float32", "auto": stored, tf.float16: "float16", "mixed_bfloat16": "float32"}.get(asked, asked)
    assert {variable.dtype for variable in loaded.weights} == {kept}
    assert loaded.compute_dtype == ("bfloat16" if asked == "mixed_bfloat16" else kept)


@pytest.mark.parametrize("labels", [0, 3])
def test_every_layer_computes_in_the_models_dtype(labels):
    models = [build(class_name, dtype="float16", num_labels=labels, **SHALLOW) for class_name in CLASSES]
    assert {layer.dtype_policy.name for model in models for layer in model._flatten_layers()} == {"float16"}


def test_a_saved_model_is_written_where_transformers_puts_it(tmp_path):
    model = build("CLIPVisionModel")
    model.save_pretrained(tmp_path, saved_model=True, version=7)
    served = tf.saved_model.load(tmp_path / "saved_model" / "7").signatures["serving_default"]
    pixels = inputs_for("CLIPVisionModel")["pixel_values"]
    assert np.allclose(served(pixel_values=pixels)["pooler_output"], model(pixels).pooler_output, **FLOAT32)


@pytest.mark.parametrize("class_name", ["CLIPTextModel", "CLIPVisionModel"])
def test_a_saved_model_stacks_the_states_of_the_layers_that_the_configuration_asks_for(class_name, tmp_path):
    tower = {"output_hidden_states": True, "output_attentions": True, "num_hidden_layers": 2}
    model = build(class_name, text=tower, vision=tower, attn_implementation="eager")
    inputs = inputs_for(class_name)
    model.save_pretrained(tmp_path, saved_model=True)
    served = tf.saved_model.load(tmp_path / "saved_model" / "1").signatures["serving_default"]
    taken = {name: tf.cast(inputs[name], spec.dtype) for name, spec in model.input_signature.items() if name in inputs}
    found, expected = served(**taken), model(taken)
    assert found.keys() == expected.keys() == {"last_hidden_state", "pooler_output", "hidden_states", "attentions"}
    for name in ("hidden_states", "attentions"):
        np.testing.assert_allclose(found[name], np.stack(expected[name]), **FLOAT32)


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


def test_kerass_name_and_trainable_are_taken(tmp_path):
    build().save_pretrained(tmp_path)
    loaded = clip_tf.TFCLIPModel.from_pretrained(tmp_path, name="foo", trainable=False)
    assert loaded.name == "foo"
    assert not loaded.trainable
    assert loaded.weights
    assert loaded.trainable_weights == []
