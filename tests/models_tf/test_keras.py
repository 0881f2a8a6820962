"""A model under Keras and TensorFlow: graphs, fit, mixed precision, saving, exporting, several devices."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

import clip_tf
from support import tf_models
from support.configs import CLASSES, SHALLOW, inputs_for, pixel_values, token_ids
from support.messages import mentions, naming
from support.programs import environment
from support.tf_models import assert_close
from support.tolerances import BFLOAT16_OUTPUTS, FLOAT32, LOSS, SAME_OUTPUTS

build = partial(tf_models.build, **SHALLOW)


def as_tensors(inputs):
    return {name: tf.constant(array) for name, array in inputs.items()}


def test_one_graph_serves_every_batch_and_length():
    model = build("CLIPTextModel")
    specs = {name: tf.TensorSpec((None, None), tf.int64) for name in ("input_ids", "attention_mask")}
    compiled = tf.function(model, input_signature=[specs])
    for batch, seq in ((4, 11), (2, 7), (5, 19)):
        ids, mask = token_ids(batch, seq)
        inputs = as_tensors({"input_ids": ids, "attention_mask": mask})
        assert_close(compiled(inputs), model(inputs))
    assert compiled.experimental_get_tracing_count() == 1


def test_fit_minimises_the_models_own_loss():
    model, inputs = build(), inputs_for("CLIPModel")
    model.compile(optimizer=keras.optimizers.Adam(3e-3))
    before = float(model(**inputs, return_loss=True).loss)
    history = model.fit(inputs, batch_size=4, epochs=15, verbose=0).history["loss"]
    assert history[0] == pytest.approx(before, rel=LOSS)
    assert history[-1] < 0.2 * history[0]
    assert model.evaluate(inputs, batch_size=4, verbose=0) == pytest.approx(
        float(model(**inputs, return_loss=True).loss), rel=LOSS
    )


def test_fit_takes_a_dataset_and_a_loss_and_metrics_of_keras():
    model = build("CLIPForImageClassification")
    pixels, labels = pixel_values(8), np.arange(8) % 3
    model.compile(
        optimizer=keras.optimizers.Adam(1e-2),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    data = tf.data.Dataset.from_tensor_slices(({"pixel_values": pixels}, labels)).batch(4)
    history = model.fit(data, epochs=20, validation_data=data, shuffle=False, verbose=0).history
    assert history["accuracy"][-1] == history["val_accuracy"][-1] == 1.0


def test_a_classifier_fits_labels_without_being_given_a_loss():
    model = build("CLIPForImageClassification")
    pixels, labels = pixel_values(6), np.arange(6) % 3
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    first = model.fit({"pixel_values": pixels}, labels, batch_size=6, verbose=0).history["loss"][0]
    expected = build("CLIPForImageClassification")(pixels, labels=labels).loss
    assert first == pytest.approx(float(expected), rel=LOSS)
    inside = build("CLIPForImageClassification")
    inside.compile(optimizer="adam")
    loss = inside.fit({"pixel_values": pixels, "labels": labels}, batch_size=6, verbose=0).history["loss"][0]
    assert loss == pytest.approx(first, rel=LOSS)


def test_a_model_without_a_loss_says_so():
    model = build("CLIPTextModel")
    model.compile(optimizer="adam")
    with pytest.raises(ValueError, match=naming("TFCLIPTextModel", "compile(loss=...)")):
        model.fit(inputs_for("CLIPTextModel"), verbose=0)


@pytest.mark.parametrize("loss", ["auto", "auto_with_warning", "passthrough"])
def test_the_names_of_transformers_for_the_models_own_loss(loss):
    model, inputs = build(), inputs_for("CLIPModel")
    model.compile("sgd", loss, run_eagerly=None, steps_per_execution=None)
    expected = float(model(**inputs, return_loss=True).loss)
    assert model.evaluate(inputs, batch_size=4, verbose=0) == pytest.approx(expected, rel=LOSS)


def test_metrics_are_the_third_argument_of_compile_also_in_a_keras_file(tmp_path):
    model, pixels, labels = build("CLIPForImageClassification"), pixel_values(4), np.arange(4) % 3
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), ["accuracy"])
    found = model.evaluate(pixels, labels, verbose=0, return_dict=True)
    assert found.keys() == {"loss", "accuracy"}
    model.save(tmp_path / "model.keras")
    assert (
        keras.saving.load_model(tmp_path / "model.keras").evaluate(pixels, labels, verbose=0, return_dict=True) == found
    )


def test_predict_joins_batches_into_one_output():
    model, inputs = build("CLIPVisionModelWithProjection"), inputs_for("CLIPVisionModelWithProjection", 5)
    output = model.predict(inputs, batch_size=2, verbose=0)
    assert_close(output, model(inputs))


@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPTextModel", "CLIPVisionModel"])
def test_a_functional_model_takes_symbolic_inputs_of_open_shapes(class_name, tmp_path):
    model, inputs = build(class_name), as_tensors(inputs_for(class_name))
    specs = {name: spec for name, spec in model.input_signature.items() if name in inputs}
    symbolic = {name: keras.Input(spec.shape[1:], dtype=spec.dtype, name=name) for name, spec in specs.items()}
    functional = keras.Model(symbolic, model(symbolic)[0])
    expected = model(inputs)[0]
    np.testing.assert_allclose(functional({name: inputs[name] for name in specs}), expected, **FLOAT32)
    functional.export(tmp_path, verbose=False)
    assert "serving_default" in tf.saved_model.load(tmp_path).signatures


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_the_weights_and_the_comparison_in_float32(policy):
    full, mixed = build(), build(dtype=policy)
    assert {variable.dtype for variable in mixed.weights} == {"float32"}
    inputs = inputs_for("CLIPModel")
    output = mixed(inputs)
    assert output.text_model_output.last_hidden_state.dtype == mixed.compute_dtype
    assert output.logits_per_image.dtype == tf.float32
    assert_close(output, full(inputs), tolerance=BFLOAT16_OUTPUTS)
    mixed.compile(optimizer="adam")
    losses = mixed.fit(inputs, batch_size=4, epochs=3, verbose=0).history["loss"]
    assert np.isfinite(losses).all()


def test_a_global_policy_is_followed(tmp_path):
    build().save_pretrained(tmp_path)
    keras.config.set_dtype_policy("bfloat16")
    try:
        model = clip_tf.CLIPModel.from_pretrained(tmp_path)
    finally:
        keras.config.set_dtype_policy("float32")
    assert {variable.dtype for variable in model.weights} == {"bfloat16"}
    assert np.isfinite(model(inputs_for("CLIPModel")).logits_per_image).all()


@pytest.mark.parametrize("class_name", CLASSES)
def test_a_keras_file_brings_the_model_back(class_name, tmp_path):
    model, inputs = build(class_name, attn_implementation="eager"), inputs_for(class_name)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    assert loaded.config.to_dict() == model.config.to_dict()
    assert loaded.config.attn_implementation == "eager"
    assert_close(loaded(inputs), model(inputs), tolerance=0)


def test_a_keras_file_keeps_what_was_pruned_and_the_policy(tmp_path):
    model = build("CLIPTextModel", text={"num_hidden_layers": 2}, dtype="mixed_bfloat16")
    model.prune_heads({1: [0, 2]})
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.dtype_policy.name == "mixed_bfloat16"
    assert_close(loaded(inputs_for("CLIPTextModel")), model(inputs_for("CLIPTextModel")), tolerance=0)


RELOADING = """
import sys
from pathlib import Path
import numpy as np
import tensorflow as tf
for folder in map(Path, sys.argv[1:]):
    inputs, found, loaded = dict(np.load(folder / "inputs.npz")), {}, tf.saved_model.load(folder / "served")
    for name, function in loaded.signatures.items():
        wanted = function.structured_input_signature[1]
        arguments = {key: tf.constant(inputs[key], spec.dtype) for key, spec in wanted.items()}
        found |= {f"{name}.{key}": value.numpy() for key, value in function(**arguments).items()}
    np.savez(folder / "found.npz", **found)
assert not any(name.startswith("clip_") for name in sys.modules)
"""


def test_an_exported_model_runs_without_us_on_any_batch(tmp_path):
    expected = {}
    for class_name in ("CLIPModel", "CLIPTextModelWithProjection", "CLIPForImageClassification"):
        model, inputs, folder = build(class_name), inputs_for(class_name, 3), tmp_path / class_name
        model.export(folder / "served", verbose=False)
        np.savez(folder / "inputs.npz", **inputs)
        expected[folder] = {f"serving_default.{name}": v for name, v in model(inputs).items() if tf.is_tensor(v)}
        if class_name == "CLIPModel":
            pixels = inputs.pop("pixel_values")
            expected[folder]["get_text_features.text_features"] = model.get_text_features(inputs)
            expected[folder]["get_image_features.image_features"] = model.get_image_features(pixels)
    subprocess.run([sys.executable, "-c", RELOADING, *expected], check=True, capture_output=True, cwd=tmp_path)
    for folder, values in expected.items():
        found = np.load(folder / "found.npz")
        assert values
        for name, value in values.items():
            assert np.abs(found[name] - value).max() <= SAME_OUTPUTS * np.abs(value).max(), (folder, name)


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning")  # in favour of a package
def test_a_concrete_function_converts_to_tflite():
    model = build("CLIPModel")
    inputs = {name: np.asarray(value[:1]) for name, value in inputs_for("CLIPModel").items()}
    specs = {name: tf.TensorSpec(value.shape, value.dtype, name) for name, value in inputs.items()}
    function = tf.function(lambda inputs: model(inputs).logits_per_image).get_concrete_function(specs)
    interpreter = tf.lite.Interpreter(
        model_content=tf.lite.TFLiteConverter.from_concrete_functions([function]).convert()
    )
    interpreter.allocate_tensors()
    for row in interpreter.get_input_details():
        (name,) = (name for name in inputs if name in row["name"])
        interpreter.set_tensor(row["index"], inputs[name])
    interpreter.invoke()
    (row,) = interpreter.get_output_details()
    np.testing.assert_allclose(interpreter.get_tensor(row["index"]), model(inputs).logits_per_image, **FLOAT32)


TWO_DEVICES = """
import sys
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
from support.configs import SHALLOW, inputs_for
from support.tf_models import build
from support.tolerances import FLOAT32_GRADIENTS, LOSS_AFTER_STEPS
inputs = inputs_for("CLIPForImageClassification", 8)
labels = np.arange(8) % 3
def train(strategy):
    with strategy.scope():
        model = build("CLIPForImageClassification", **SHALLOW)
        model.compile(optimizer=keras.optimizers.SGD(0.1))
    losses = model.fit(inputs, labels, batch_size=8, epochs=4, verbose=0, shuffle=False).history["loss"]
    return losses, model.classifier.kernel.numpy()
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert two.num_replicas_in_sync == 2
(losses, kernel), (expected, one) = train(two), train(tf.distribute.get_strategy())
np.testing.assert_allclose(losses, expected, rtol=LOSS_AFTER_STEPS)
np.testing.assert_allclose(kernel, one, **FLOAT32_GRADIENTS)
print("same")
"""


def test_two_devices_train_as_one(run_program):
    assert run_program(TWO_DEVICES).strip().endswith("same")


def test_another_backend_of_keras_is_refused_with_what_to_do():
    run = subprocess.run(
        [sys.executable, "-c", "import clip_tf"],
        capture_output=True,
        text=True,
        env=environment(KERAS_BACKEND="numpy"),
        check=False,
    )
    assert run.returncode == 1
    assert mentions(run.stderr.splitlines()[-1], "clip_tf", "TensorFlow", "'numpy'", "KERAS_BACKEND=tensorflow")
