"""The contrastive loss in half precision, and labels outside the classes."""

from __future__ import annotations

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


@pytest.mark.parametrize("label", [5, -1])
def test_a_label_that_names_no_class_makes_the_loss_nan(label):
    assert jnp.isnan(classification_loss(jnp.asarray(LOGITS), jnp.asarray([0, label, 1, 2]), None))
