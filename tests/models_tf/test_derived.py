"""Subclasses in TensorFlow, as transformers' users and Keras' write them, and what transformers' models offer there."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from clip_tf import TFCLIPModel, TFCLIPPreTrainedModel, TFCLIPVisionModel
from support.backends import TENSORFLOW
from support.configs import inputs_for, tiny_config
from support.messages import naming
from support.tf_models import build
from support.tolerances import FLOAT32

BACKEND = TENSORFLOW

PIXELS = inputs_for("CLIPVisionModel")["pixel_values"]


class Built(TFCLIPPreTrainedModel):
    """A class as in transformers: with a `build` of its own, and layers of several kinds."""

    base_model_prefix = "clip"

    def __init__(self, config, *inputs, **kwargs):
        super().__init__(config, *inputs, **kwargs)
        self.clip = TFCLIPModel(config, name="clip")
        self.norm = keras.layers.BatchNormalization(name="norm")
        self.head = keras.layers.Dense(3, name="head")

    def call(self, pixel_values=None, training=False):
        return self.head(self.norm(self.clip.get_image_features(pixel_values), training=training))

    def build(self, input_shape=None):
        if self.built:
            return
        self.built = True
        self.clip.build(None)
        self.norm.build([None, 24])
        self.head.build([None, 24])


class Added(TFCLIPModel):
    """A class that adds to the whole model, in Keras' way."""

    def __init__(self, config, **kwargs):
        super().__init__(config, **kwargs)
        self.head = keras.Sequential([keras.layers.Dense(7), keras.layers.Dropout(0.5), keras.layers.Dense(4)])
        self.scale = self.add_weight(shape=(), initializer="ones")

    def call(self, inputs):
        return self.head(super().call(**inputs).image_embeds) * self.scale


def test_a_class_with_a_build_of_its_own_loads_fits_and_loads_again(plain, tmp_path):
    with pytest.warns(UserWarning, match=naming("Built", "norm.running_var", "head.weight")):
        model = Built.from_pretrained(plain[1])
    assert np.array_equal(model.clip.get_image_features(PIXELS), plain[0].get_image_features(PIXELS))
    model.clip.trainable = False
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit({"pixel_values": PIXELS}, np.zeros(len(PIXELS)), verbose=0)
    model.save_pretrained(tmp_path / "saved")
    again, info = Built.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not any(info.values())
    assert np.array_equal(again(PIXELS), model(PIXELS))
    half = Built.from_pretrained(tmp_path / "saved", dtype="float16")
    assert {half.dtype, half.clip.dtype, half.head.dtype} == {"float16"}


def test_layers_in_a_sequence_and_weights_have_names_that_stay(plain, tmp_path):
    with pytest.warns(UserWarning, match=naming("Added", "scale")):
        model, info = Added.from_pretrained(plain[1], output_loading_info=True)
    assert set(info["missing_keys"]) == {
        "scale",
        *(f"head.{at}.{kind}" for at in (0, 2) for kind in ("weight", "bias")),
    }
    model.save_pretrained(tmp_path / "saved")
    again, info = Added.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not any(info.values())
    inputs = inputs_for("CLIPModel")
    assert np.array_equal(again(inputs), model(inputs))


def test_a_fresh_model_of_a_class_is_built_by_its_first_call():
    assert Added(tiny_config())(inputs_for("CLIPModel")).shape == (4, 4)


def test_the_main_layer_is_the_model_itself(plain):
    model, _ = plain
    before = len(model.trainable_weights)
    model.clip.vision_model.trainable = False
    assert model.clip is model
    assert before - len(model.trainable_weights) == len(model.vision_model.weights) == 39


def test_a_model_is_made_of_a_configuration_in_every_form(plain):
    config = tiny_config()
    for form in (config, config.to_dict(), plain[0].get_config()):
        model = TFCLIPModel.from_config(form)
        assert type(model) is TFCLIPModel
        assert model.config.vision_config.image_size == 30


def test_inputs_are_described_and_served(plain, tmp_path):
    model, _ = plain
    shapes = {name: tuple(spec.shape) for name, spec in model.input_signature.items()}
    texts = {"input_ids": (None, None), "attention_mask": (None, None)}
    assert shapes == {**texts, "pixel_values": (None, 2, 30, 30)}
    assert {name: tuple(value.shape) for name, value in model.dummy_inputs.items()} == {
        "input_ids": (1, 2), "attention_mask": (1, 2), "pixel_values": (1, 2, 30, 30),
    }  # fmt: skip
    assert set(TFCLIPVisionModel(tiny_config().vision_config).dummy_inputs) == {"pixel_values"}
    served = model.serving(model.dummy_inputs)
    tf.saved_model.save(model, str(tmp_path / "served"), signatures={"serving_default": model.serving})
    signature = tf.saved_model.load(str(tmp_path / "served")).signatures["serving_default"]
    for name, value in signature(**model.dummy_inputs).items():
        np.testing.assert_array_equal(value, served[name])


def test_a_served_output_stacks_the_layers_that_the_configuration_asks_for(tmp_path):
    model, inputs = build("CLIPTextModel"), inputs_for("CLIPTextModel")
    output = model(inputs, output_hidden_states=True)
    assert model.serving_output(output).keys() == {"last_hidden_state", "pooler_output"}
    model.config.output_hidden_states = True
    states = model.serving_output(output).hidden_states
    np.testing.assert_array_equal(states, np.stack(output.hidden_states))
    model.save_pretrained(tmp_path, True, 3)
    model.save_pretrained(tmp_path, True, 4, signatures={"encode": model.serving})
    exported = {
        3: tf.saved_model.load(str(tmp_path / "saved_model" / "3")).signatures["serving_default"],
        4: tf.saved_model.load(str(tmp_path / "saved_model" / "4")).signatures["encode"],
    }
    inputs = {name: tf.cast(value, tf.int32) for name, value in inputs.items()}
    for function in exported.values():
        np.testing.assert_allclose(function(**inputs)["hidden_states"], states, **FLOAT32)


def test_the_methods_for_the_head_of_a_language_model_find_none():
    model = build("CLIPTextModel")
    model.build_in_name_scope()
    assert model.get_lm_head() is model.get_bias() is model.get_output_embeddings() is None
    assert model.get_output_layer_with_bias() is model.get_prefix_bias_name() is None
    model.set_bias({})
    model.set_output_embeddings(None)


def test_adapters_that_keras_added_are_saved_in_the_weights_that_they_change(plain, tmp_path):
    model, _ = plain
    before = np.array(model.text_projection.kernel)
    model.text_projection.enable_lora(2)
    model.text_projection.lora_kernel_b.assign(tf.ones((2, 24)))
    table = model.text_model.embeddings.token_embedding
    table.enable_lora(2)
    table.lora_embeddings_b.assign(tf.ones((2, 40)))
    model.save_pretrained(tmp_path / "saved")
    again = TFCLIPModel.from_pretrained(tmp_path / "saved")
    inputs = inputs_for("CLIPTextModel")
    assert np.array_equal(again.get_text_features(**inputs), model.get_text_features(**inputs))
    assert not np.array_equal(again.text_projection.kernel, before)


class Dataset:
    """A `datasets.Dataset` as far as `prepare_tf_dataset` asks for one, which makes one batch of all."""

    def __init__(self, columns):
        self.columns = columns
        self.column_names = list(columns)

    def select_columns(self, names):
        return Dataset({name: self.columns[name] for name in names})

    def to_tf_dataset(self, columns, label_cols, collate_fn, **options):
        examples = [dict(zip(self.columns, row, strict=True)) for row in zip(*self.columns.values(), strict=True)]
        return columns, label_cols, collate_fn(examples), options


class Padder:
    """A tokenizer that pads with zeros."""

    def pad(self, encoded, return_tensors):
        assert return_tensors == "np"
        length = max(map(len, encoded["input_ids"]))
        return {name: np.array([row + [0] * (length - len(row)) for row in rows]) for name, rows in encoded.items()}


def test_a_dataset_keeps_the_columns_that_a_call_takes_and_pads_texts(plain):
    dataset = Dataset({"input_ids": [[1, 2, 3], [4]], "caption": ["a", "b"], "label": [0, 1]})
    columns, labels, batch, options = plain[0].prepare_tf_dataset(dataset, 2, tokenizer=Padder())
    assert (columns, labels) == ("input_ids", "label")
    assert batch["input_ids"].tolist() == [[1, 2, 3], [4, 0, 0]]
    assert batch["label"].tolist() == [0, 1]
    assert (options["batch_size"], options["shuffle"], options["drop_remainder"]) == (2, True, True)
    with pytest.raises(ValueError, match=naming("caption", "pixel_values")):
        plain[0].prepare_tf_dataset(Dataset({"caption": ["a"]}))
    with pytest.raises(TypeError, match=naming("list")):
        plain[0].prepare_tf_dataset([1, 2])


class Passing(TFCLIPVisionModel):
    """A class that hands on what it gets, and has a layer for later."""

    def __init__(self, config, *inputs, **kwargs):
        super().__init__(config, *inputs, **kwargs)
        self.later = keras.layers.Dense(2)

    def call(self, *args, **kwargs):
        return super().call(*args, **kwargs)


def test_a_class_that_hands_on_its_arguments_takes_them_in_order_and_by_name(tmp_path):
    build("CLIPVisionModel").save_pretrained(tmp_path)
    model, plain = (one.from_pretrained(tmp_path) for one in (Passing, TFCLIPVisionModel))
    expected = plain(PIXELS)
    for outputs in (model(PIXELS), model(pixel_values=PIXELS)):  # Keras refuses options beside tensors in **kwargs
        np.testing.assert_array_equal(outputs.pooler_output, expected.pooler_output)
    assert model.later(expected.pooler_output).shape == (len(PIXELS), 2)
