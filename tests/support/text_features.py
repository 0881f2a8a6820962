"""Gradients of text features, and features of ids whose values are hidden, by the means of each framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator


def _torch_gradients(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import torch

    model.zero_grad()
    features = model.get_text_features(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    (features * torch.linspace(-1.0, 2.0, features.numel()).reshape(features.shape)).sum().backward()
    return {name: p.grad.numpy().copy() for name, p in model.named_parameters() if p.grad is not None}


def _tf_gradients(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        features = model.get_text_features(**inputs)
        objective = tf.reduce_sum(features * tf.reshape(tf.linspace(-1.0, 2.0, tf.size(features)), features.shape))
    variables = {
        variable.path: variable.value for variable in model.trainable_variables if "vision" not in variable.path
    }
    gradients = tape.gradient(objective, list(variables.values()))
    found = zip(variables, gradients, strict=True)
    return {name: tf.convert_to_tensor(one).numpy() for name, one in found if one is not None}


def _flax_gradients(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import jax
    import jax.numpy as jnp

    def objective(params: Any) -> Any:
        features = model.get_text_features(**inputs, params=params)
        return (features.ravel() * jnp.linspace(-1.0, 2.0, features.size)).sum()

    found = jax.tree_util.tree_leaves_with_path(jax.grad(objective)(model.params))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in found}


def _torch_hidden(model: Any, ids: Any, mask: Any) -> Iterator[Any]:
    import torch

    ids, mask = torch.from_numpy(ids), torch.from_numpy(mask)
    with torch.no_grad():
        yield torch.compile(model.get_text_features, fullgraph=True, backend="eager")(ids, mask)
        eager = {"attn_implementation": model.config.text_config.attn_implementation}
        model.config.text_config.attn_implementation = "eager"  # the other has no rule for vmap
        yield torch.vmap(lambda row, its: model.get_text_features(row[None], its[None])[0])(ids, mask)
        vars(model.config.text_config).update(eager)


def _tf_hidden(model: Any, ids: Any, mask: Any) -> Iterator[Any]:
    import tensorflow as tf

    for options in ({}, {"jit_compile": True}):
        yield tf.function(model.get_text_features, **options)(tf.constant(ids), tf.constant(mask))


def _flax_hidden(model: Any, ids: Any, mask: Any) -> Iterator[Any]:
    import jax

    yield jax.jit(model.get_text_features)(ids, mask)
    yield jax.vmap(lambda row, its: model.get_text_features(row[None], its[None])[0])(ids, mask)


# By the name of the backend.
GRADIENTS = {"torch": _torch_gradients, "tf": _tf_gradients, "flax": _flax_gradients}
HIDDEN = {"torch": _torch_hidden, "tf": _tf_hidden, "flax": _flax_hidden}
