"""The losses against their formulas, in half precision too, and labels that name no class."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clip_flax.loss import classification_loss, contrastive_loss
from support.tolerances import LOSS

LOGITS = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32) * 3


def log_softmax(rows):
    return rows - np.log(np.exp(rows).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_losses_are_taken_in_float32(dtype):
    logits = jnp.asarray(LOGITS[:, :4], dtype)
    loss = contrastive_loss(logits)
    assert loss.dtype == jnp.float32
    assert loss == pytest.approx(-log_softmax(np.asarray(logits, np.float64)).diagonal().mean(), rel=LOSS)


def test_a_label_of_minus_one_hundred_is_left_out_and_its_gradient_is_zero():
    labels = jnp.asarray([4, -100, 0, -100])
    loss, gradient = jax.value_and_grad(classification_loss)(jnp.asarray(LOGITS), labels, None)
    assert loss == pytest.approx(-(log_softmax(LOGITS)[0, 4] + log_softmax(LOGITS)[2, 0]) / 2, rel=LOSS)
    assert jnp.isfinite(gradient).all()
    assert gradient.any(axis=-1).tolist() == [True, False, True, False]


@pytest.mark.parametrize("label", [5, -1])
def test_a_label_that_names_no_class_makes_the_loss_nan(label):
    assert jnp.isnan(classification_loss(jnp.asarray(LOGITS), jnp.asarray([0, label, 1, 2]), None))


def test_losses_of_several_labels_stay_finite_where_logits_are_large():
    logits, labels = jnp.asarray([[300.0, -300.0]]), jnp.asarray([[0.0, 1.0]])
    assert classification_loss(logits, labels, None) == pytest.approx(300.0)


def test_regression_of_one_number_takes_labels_of_either_shape():
    logits, labels = jnp.asarray(LOGITS[:, :1]), jnp.asarray([0.5, -1.0, 2.0, 0.0])
    expected = np.square(LOGITS[:, 0] - np.asarray(labels)).mean()
    for shape in ((4,), (4, 1)):
        assert classification_loss(logits, labels.reshape(shape), None) == pytest.approx(expected, rel=LOSS)
