"""The losses against their formulas, and their errors."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import tensorflow as tf

from support.backends import BACKENDS
from support.messages import naming
from support.tolerances import LOSS

LOGITS = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32) * 3


def log_softmax(rows):
    return rows - np.log(np.exp(rows).sum(axis=-1, keepdims=True))


def classification(backend, labels, logits=LOGITS, problem_type=None):
    """Return the loss of a classifier, and its gradient by the logits."""
    loss = backend.module("loss").classification_loss
    return backend.value_and_gradient(lambda tensor: loss(tensor, backend.tensor(labels), problem_type), logits)


# PyTorch's loss has the dtype of its logits, as transformers' has.
@pytest.mark.parametrize("own", [one for one in BACKENDS if one.name != "torch"], ids=lambda one: one.name)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_losses_are_taken_in_float32(own, dtype):
    logits = own.tensor(LOGITS[:, :4], dtype)
    rounded = np.asarray(own.tensor(logits, "float32"), np.float64)
    loss = np.asarray(own.module("loss").contrastive_loss(logits))
    assert loss.dtype == np.float32
    assert loss == pytest.approx(-log_softmax(rounded).diagonal().mean(), rel=LOSS)


@pytest.mark.parametrize("shape", [(3, 2), (2, 3)])
def test_texts_and_images_that_make_no_pairs_are_refused_with_both_numbers(backend, shape):
    with pytest.raises(ValueError, match=naming("return_loss=True", *shape)):
        backend.module("loss").clip_loss(backend.tensor(np.zeros(shape, np.float32)))


@pytest.mark.parametrize("problem_type", [None, "single_label_classification"])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_class_indices_of_either_width_give_the_same_loss(backend, dtype, problem_type):
    loss, _ = classification(backend, np.array([0, 2, 1, 1], dtype), problem_type=problem_type)
    assert loss == pytest.approx(-log_softmax(LOGITS)[range(4), [0, 2, 1, 1]].mean(), rel=LOSS)


def test_a_label_of_minus_one_hundred_is_left_out_and_its_gradient_is_zero(backend):
    loss, gradient = classification(backend, np.array([4, -100, 0, -100]))
    assert loss == pytest.approx(-(log_softmax(LOGITS)[0, 4] + log_softmax(LOGITS)[2, 0]) / 2, rel=LOSS)
    assert np.isfinite(gradient).all()
    assert gradient.any(axis=-1).tolist() == [True, False, True, False]


def test_losses_of_several_labels_stay_finite_where_logits_are_large(backend):
    logits, labels = np.array([[300.0, -300.0]], np.float32), np.array([[0.0, 1.0]], np.float32)
    assert classification(backend, labels, logits)[0] == 300


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_regression_of_one_number_takes_labels_of_either_shape(backend, shape):
    labels = np.array([0.5, -1.0, 2.0, 0.0], np.float32)
    loss, _ = classification(backend, labels.reshape(shape), LOGITS[:, :1])
    assert loss == pytest.approx(np.square(LOGITS[:, 0] - labels).mean(), rel=LOSS)


@pytest.mark.parametrize("label", [5, -1])
def test_a_label_that_names_no_class_is_an_error_or_makes_the_loss_nan(backend, label):
    """JAX cannot raise in a compiled function."""
    refused = pytest.raises((IndexError, tf.errors.InvalidArgumentError), match=naming(label))
    with nullcontext() if backend.name == "flax" else refused:
        assert np.isnan(classification(backend, np.array([0, label, 1, 2]))[0])
