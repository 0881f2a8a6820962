"""Flax for the shared suite; see `support.backends`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from support.oracle import flatten

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np


class FlaxBackend:
    name = "flax"
    own_file = "flax_model.msgpack"
    precise = "float32"  # in float64 `sdpa` is `eager`
    no_dropout = None
    embedding_size = "num_embeddings"
    dtype_keywords = ("param_dtype",)

    def build(self, class_name: str, config: Any, seed: int = 0, dtype: str = "float32") -> Any:
        import clip_flax

        return getattr(clip_flax, class_name)(config, seed=seed, dtype=dtype)

    def load(self, class_name: str, source: Any, *, seed: int = 0, **options: Any) -> Any:
        import clip_flax

        return getattr(clip_flax, class_name).from_pretrained(source, seed=seed, **options)

    def module(self, name: str) -> Any:
        return import_module(f"clip_flax.{name}")

    def tensor(self, array: Any, dtype: str | None = None) -> Any:
        import jax.numpy as jnp

        return jnp.asarray(array, dtype)

    def double_precision(self) -> AbstractContextManager[Any]:
        import jax

        return jax.enable_x64(True)

    def dtype(self, name: str) -> Any:
        import jax.numpy as jnp

        return getattr(jnp, name)

    def other_layer(self) -> Any:
        from flax import nnx

        return nnx.Linear(1, 1, rngs=nnx.Rngs(0))

    def forward(self, model: Any, inputs: dict[str, np.ndarray], **options: Any) -> dict[str, np.ndarray]:
        return flatten(model(**inputs, **options))

    def train(
        self, model: Any, inputs: dict[str, np.ndarray], seed: int, method: str = "__call__", **options: Any
    ) -> dict[str, np.ndarray]:
        import jax

        key = jax.random.key(seed, impl="rbg")
        return flatten(getattr(model, method)(**inputs, **options, train=True, dropout_rng=key))

    def dropout(self, layer: Any, seed: int) -> Any:
        import jax

        return layer._dropout(jax.random.key(seed))

    def ways_to_run(self, model: Any, **options: Any) -> dict[str, Any]:
        import jax

        compiled = jax.jit(lambda params, inputs: model(**inputs, params=params, **options))
        return {
            "plain": lambda inputs: model(**inputs, **options),
            "jit": lambda inputs: compiled(model.params, inputs),
        }

    def exported(self, model: Any, inputs: dict[str, np.ndarray]) -> Any:
        import jax
        import jax.numpy as jnp

        (batch,) = jax.export.symbolic_shape("batch")
        shapes = {
            name: jax.ShapeDtypeStruct((batch, *array.shape[1:]), jnp.asarray(array).dtype)
            for name, array in inputs.items()
        }
        function = jax.jit(lambda params, inputs: model(**inputs, params=params))
        exported = jax.export.export(function)(model.params_shape_tree, shapes)
        again = jax.export.deserialize(exported.serialize())
        return lambda inputs: again.call(model.params, {name: jnp.asarray(array) for name, array in inputs.items()})

    def gradients_by_sample(
        self, model: Any, pixels: np.ndarray
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        import jax
        import jax.numpy as jnp

        def loss(params: Any, image: Any) -> Any:
            return jnp.square(model(image[None], params=params).pooler_output).sum()

        by_image = jax.vmap(jax.grad(loss), in_axes=(None, 0))(model.params, pixels)
        together = jax.grad(lambda params: sum(loss(params, image) for image in pixels))(model.params)
        return flatten(jax.tree.map(lambda leaf: leaf.sum(0), by_image)), flatten(together)

    def losses(self, model: Any, inputs: dict[str, np.ndarray], steps: int, rate: float) -> list[float]:
        import jax
        import optax

        optimizer, params, found = optax.adam(rate), model.params, []
        state = optimizer.init(params)

        @jax.jit
        def step(params: Any, state: Any) -> Any:
            def loss(params: Any) -> Any:
                return model(**inputs, params=params, return_loss=True).loss

            value, gradients = jax.value_and_grad(loss)(params)
            updates, state = optimizer.update(gradients, state)
            return optax.apply_updates(params, updates), state, value

        for _ in range(steps):
            params, state, value = step(params, state)
            found.append(float(value))
        return found

    def runs_of_layers(self, model: Any, inputs: dict[str, np.ndarray], *, training: bool = True) -> int:
        """Count the activations of exact GELU, one of each layer, in the program that computes the gradients."""
        import jax
        import jax.numpy as jnp

        assert training
        gradients = jax.grad(lambda params: jnp.square(model(**inputs, params=params).pooler_output).sum())
        return str(jax.make_jaxpr(gradients)(model.params)).count("erfc ")

    def gradients(
        self, model: Any, inputs: dict[str, np.ndarray], *, dropout_seed: int | None = None, **options: Any
    ) -> dict[str, np.ndarray]:
        import jax

        if dropout_seed is not None:
            options |= {"train": True, "dropout_rng": jax.random.key(dropout_seed, impl="rbg")}

        def objective(params: Any) -> Any:
            output = model(**inputs, **options, params=params)
            return output["loss"] if "loss" in output else _scalar(output), output

        gradients, output = jax.jit(jax.grad(objective, has_aux=True))(model.params)
        # Parameters that the objective does not depend on have zero gradients here, and none in PyTorch.
        named = {name: array for name, array in _canonical(gradients).items() if array.any()}
        return flatten(output) | {f"gradient.{name}": array for name, array in named.items()}

    def value_and_gradient(self, function: Any, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        import jax
        import jax.numpy as jnp
        import numpy as np

        value, gradient = jax.value_and_grad(function)(jnp.asarray(array))
        return np.asarray(value), np.asarray(gradient)

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

    def dtypes(self, model: Any) -> dict[str, str]:
        return {name: array.dtype.name for name, array in self.weights(model).items()}

    def cast(self, model: Any, dtype: str) -> Any:
        cast = {"float32": model.to_fp32, "float16": model.to_fp16, "bfloat16": model.to_bf16}[dtype]
        model.params = cast(model.params)
        return model

    def state_dict(self, model: Any) -> Any:
        return self.weights(model)

    def to_save(self, model: Any) -> dict[str, Any]:
        return {"params": model.params}

    def assign(self, model: Any, name: str, array: Any) -> None:
        import numpy as np

        from clip_flax.tensors import flax_entries, to_entry

        entries = flax_entries({name: to_entry(np.asarray(array, np.float32))})
        model.assign((path, entry.load()) for path, entry in entries.items())

    def add_one(self, model: Any) -> None:
        import jax

        step = jax.jit(lambda params: jax.tree.map(lambda leaf: leaf + 1.0, params), donate_argnums=0)
        model.params = jax.block_until_ready(step(model.params))


def _canonical(params: Any) -> dict[str, np.ndarray]:
    from clip_flax.tensors import canonical_entries

    return {name: entry.load() for name, entry in canonical_entries(params).items()}


def _scalar(output: Any) -> Any:
    """Return the same as `support.oracle.scalar`."""
    import jax
    import jax.numpy as jnp

    arrays = [value for value in output.values() if isinstance(value, jax.Array)]
    return sum((value.ravel() * jnp.linspace(-1.0, 2.0, value.size)).sum() for value in arrays)
