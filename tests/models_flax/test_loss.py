"""Labels outside the classes: nothing raises in a compiled function, so the loss is NaN."""

from __future__ import annotations

import jax.numpy as jnp
import pytest

from clip_flax.loss import classification_loss


@pytest.mark.parametrize("label", [5, -1])
def test_a_label_that_names_no_class_makes_the_loss_nan(label):
    assert jnp.isnan(classification_loss(jnp.ones((4, 5)), jnp.asarray([0, label, 1, 2]), None))
