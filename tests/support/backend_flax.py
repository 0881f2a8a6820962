"""Flax as the shared suite sees it; see `support.backends`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.oracle import flatten

if TYPE_CHECKING:
    import numpy as np


class FlaxBackend:
    name = "flax"

    def build(self, class_name: str, config: Any, seed: int = 0) -> Any:
        import clip_flax

        return getattr(clip_flax, class_name)(config, seed=seed)

    def load(self, class_name: str, source: Any, **options: Any) -> Any:
        import clip_flax

        return getattr(clip_flax, class_name).from_pretrained(source, **options)

    def forward(self, model: Any, inputs: dict[str, np.ndarray], **options: Any) -> dict[str, np.ndarray]:
        return flatten(model(**inputs, **options))

    def gradients(self, model: Any, inputs: dict[str, np.ndarray], **options: Any) -> dict[str, np.ndarray]:
        import jax

        def objective(params: Any) -> Any:
            output = model(**inputs, **options, params=params)
            return output["loss"] if "loss" in output else _scalar(output), output

        gradients, output = jax.grad(objective, has_aux=True)(model.params)
        # What the objective does not depend on has a gradient of zeros here, and none in PyTorch.
        named = {name: array for name, array in _canonical(gradients).items() if array.any()}
        return flatten(output) | {f"gradient.{name}": array for name, array in named.items()}

    def call(self, method: Any, inputs: dict[str, np.ndarray], **options: Any) -> np.ndarray:
        return flatten(method(**inputs, **options))[""]

    def activation(self, name: str, values: np.ndarray) -> np.ndarray:
        import jax
        import numpy as np

        from clip_flax.layers import ACTIVATION_FUNCTIONS

        with jax.enable_x64(True):
            return np.asarray(ACTIVATION_FUNCTIONS[name](values))

    def weights(self, model: Any) -> dict[str, np.ndarray]:
        from clip_core.modeling.parameters import parameter_table

        found = _canonical(model.params)
        ordered = [name for name in parameter_table(model.config, type(model).__name__) if name in found]
        return {name: found[name] for name in [*ordered, *sorted(found.keys() - set(ordered))]}


def _canonical(params: Any) -> dict[str, np.ndarray]:
    from clip_flax.tensors import canonical_entries

    return {name: entry.load() for name, entry in canonical_entries(params).items()}


def _scalar(output: Any) -> Any:
    """As `support.oracle.scalar`."""
    import jax
    import jax.numpy as jnp

    arrays = [value for value in output.values() if isinstance(value, jax.Array)]
    return sum((value.ravel() * jnp.linspace(-1.0, 2.0, value.size)).sum() for value in arrays)
