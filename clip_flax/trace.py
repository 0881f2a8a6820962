"""Every stage of a run as numpy arrays, which `clip-zoo verify` compares across frameworks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

import clip_flax
from clip_core.modeling import stages
from clip_core.modeling.tracing import LOSS_CHUNK, call_arguments, run_stages, tracer
from clip_core.tasks.explain.tracing import explanation_stages
from clip_core.training.settings import decays
from clip_flax.explain import layer_gradients, logit_gradients
from clip_flax.loss import chunked_clip_loss
from clip_flax.tensors import canonical_entries, canonical_paths, flatten, unflatten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clip_core.modeling.tracing import TraceRequest
    from clip_flax.tensors import Params


class TracedModel:
    """A model as a `clip_core.modeling.tracing.Traced`.

    Args:
        request: the model to load, and its inputs.
    """

    def __init__(self, request: TraceRequest) -> None:
        model_class, dtype = getattr(clip_flax, request.class_name), request.dtype
        self.model: Any = model_class.from_pretrained(request.source, dtype=dtype, param_dtype=dtype, **request.options)
        self.request = request

    def stages(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Run the forward pass on these inputs, and return every stage."""
        return {name: _array(tensor) for name, tensor in run_stages(self.model, self._arguments(inputs)).items()}

    def chunked_loss(self, text_embeds: np.ndarray, image_embeds: np.ndarray) -> np.ndarray:
        """Return the contrastive loss of unit-norm embeddings `(pairs, projection)`, computed in chunks: a scalar."""
        return _array(_chunked(text_embeds, image_embeds, jnp.exp(self.model.params["logit_scale"])))

    def backward(self) -> None:
        """Compute the gradients of the objective: zeros for unused parameters."""

        def value(params: Params) -> Array:
            outputs = self.model(**self._arguments(self.request.inputs), params=params)
            name, factors = stages.objective(outputs)
            if factors is not None:
                return (outputs[name] * factors).sum()
            if self.request.class_name != "CLIPModel":
                return outputs[name]
            chunked = _chunked(outputs.text_embeds, outputs.image_embeds, jnp.exp(params["logit_scale"]))
            return (outputs[name] + chunked) / 2.0

        self._gradients: Params = jax.jit(jax.grad(value))(self.model.params)

    def gradients(self) -> dict[str, np.ndarray]:
        """Return the gradients of the parameters that the objective depends on."""
        return {name: array for name, array in _canonical(self._gradients).items() if array.any()}

    def updated(self) -> dict[str, np.ndarray]:
        """Take one step of AdamW, and return all parameters."""
        names = {path: name for name, path in canonical_paths(self.model.params).items()}
        leaves = flatten(self.model.params)
        # Parameters without a gradient are not updated, as in every framework.
        gradients = {names[path]: leaf for path, leaf in flatten(self._gradients).items() if leaf.any()}
        taking_part = {names[path]: leaf for path, leaf in leaves.items() if names[path] in gradients}
        optimizer = optax.adamw(
            stages.LEARNING_RATE,
            b1=stages.BETA_1,
            b2=stages.BETA_2,
            eps=stages.EPSILON,
            weight_decay=stages.WEIGHT_DECAY,
            mask={name: decays(name) for name in taking_part},
        )

        def step(params: Params, gradients: Params) -> Any:
            updates, _ = optimizer.update(gradients, optimizer.init(params), params)
            return optax.apply_updates(params, updates)

        updated = jax.jit(step)(taking_part, gradients)  # one by one, XLA compiles a hundred operations
        return _canonical(unflatten({path: updated.get(names[path], leaf) for path, leaf in leaves.items()}))

    def explanations(self, inputs: Mapping[str, Any], text_embeds: np.ndarray) -> dict[str, np.ndarray]:
        """Return the explanations of images with texts, by stage; see `clip_core.tasks.explain.tracing`."""
        gradients = (partial(logit_gradients, self.model), partial(layer_gradients, self.model))
        return explanation_stages(self.model.config, inputs, text_embeds, *gradients)

    def _arguments(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return call_arguments(self.request.class_name, inputs, np.asarray)


def _chunked(texts: Array, images: Array, scale: Array) -> Array:
    texts, images, scale = (jnp.asarray(array, jnp.float32) for array in (texts, images, scale))
    loss: Array = jax.jit(chunked_clip_loss, static_argnums=3)(texts, images, scale, LOSS_CHUNK)
    return loss


def _canonical(params: Params) -> dict[str, np.ndarray]:
    return {name: _array(entry.load()) for name, entry in canonical_entries(params).items()}


def _array(tensor: Any) -> np.ndarray:
    return np.asarray(tensor).astype(np.float32)


trace = tracer(TracedModel)
