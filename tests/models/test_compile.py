"""Models that are compiled, exported, differentiated by sample and trained, each by the framework's own means."""

from __future__ import annotations

import numpy as np
import pytest

from support.backends import FLAX, TORCH
from support.configs import CLASSES, SHALLOW, inputs_for, tiny_config
from support.oracle import flatten
from support.tolerances import FLOAT32, SAME_OUTPUTS, SUMMED_GRADIENTS


def build(backend, class_name, **config):
    return backend.build(class_name, tiny_config(num_labels=3, **SHALLOW, **config))


def assert_close(found, expected):
    """Check that two outputs are of one class, with the same fields and nearly the same arrays."""
    assert type(found) is type(expected)
    assert list(found) == list(expected)
    one, other = flatten(found), flatten(expected)
    assert list(one) == list(other)
    for name, array in other.items():
        np.testing.assert_allclose(one[name], array, **FLOAT32, err_msg=name)
        assert np.abs(one[name] - array).max() <= SAME_OUTPUTS * np.abs(array).max(), name


@pytest.mark.parametrize("class_name", CLASSES)
def test_a_compiled_model_gives_the_same_outputs(backend, class_name):
    inputs = inputs_for(class_name)
    ways = backend.ways_to_run(build(backend, class_name), output_hidden_states=True)
    expected = ways.pop("plain")(inputs)
    assert ways
    for run in ways.values():
        assert_close(run(inputs), expected)


# TensorFlow's programs run in a process of their own, in models_tf/test_keras.py.
@pytest.mark.parametrize("own", [TORCH, FLAX], ids=lambda one: one.name)
@pytest.mark.parametrize("class_name", CLASSES)
def test_an_exported_model_takes_a_batch_of_any_size(own, class_name):
    model, other = build(own, class_name), inputs_for(class_name, 7)
    assert_close(own.exported(model, inputs_for(class_name))(other), own.ways_to_run(model)["plain"](other))


def test_gradients_by_sample_add_up_to_those_of_the_batch(backend):
    model = build(backend, "CLIPVisionModel", attn_implementation="eager")
    summed, together = backend.gradients_by_sample(model, inputs_for("CLIPVisionModel")["pixel_values"])
    assert list(summed) == list(together)
    assert len(together) > 10
    for name, array in together.items():
        np.testing.assert_allclose(summed[name], array, **SUMMED_GRADIENTS, err_msg=name)


def test_a_model_learns_its_pairs(backend):
    losses = backend.losses(build(backend, "CLIPModel"), inputs_for("CLIPModel"), steps=20, rate=1e-3)
    assert losses[-1] < losses[0] / 3
