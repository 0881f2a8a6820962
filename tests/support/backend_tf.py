"""TensorFlow for the shared suite; see `support.backends`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any
from unittest import mock

from support.oracle import flatten

if TYPE_CHECKING:
    import numpy as np


class TensorFlowBackend:
    name = "tf"
    own_file = "tf_model.h5"
    precise = "float64"
    no_dropout = None
    embedding_size = "input_dim"
    dtype_keywords = ("dtype",)

    def build(self, class_name: str, config: Any, seed: int = 0, dtype: str = "float32") -> Any:
        import keras

        import clip_tf

        keras.utils.set_random_seed(seed)
        return getattr(clip_tf, class_name)(config, dtype=dtype)

    def load(self, class_name: str, source: Any, *, seed: int = 0, **options: Any) -> Any:
        import keras

        import clip_tf

        keras.utils.set_random_seed(seed)
        return getattr(clip_tf, class_name).from_pretrained(source, **options)

    def module(self, name: str) -> Any:
        return import_module(f"clip_tf.{name}")

    def tensor(self, array: Any, dtype: str | None = None) -> Any:
        import tensorflow as tf

        tensor = tf.convert_to_tensor(array)
        return tensor if dtype is None else tf.cast(tensor, dtype)

    def double_precision(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def dtype(self, name: str) -> Any:
        import tensorflow as tf

        return getattr(tf, name)

    def other_layer(self) -> Any:
        import keras

        return keras.layers.Identity()

    def forward(self, model: Any, inputs: dict[str, np.ndarray], **options: Any) -> dict[str, np.ndarray]:
        return flatten(model(**inputs, **options))

    def train(
        self, model: Any, inputs: dict[str, np.ndarray], seed: int, method: str = "__call__", **options: Any
    ) -> dict[str, np.ndarray]:
        _seed_dropout(model, seed)
        return flatten(getattr(model, method)(**inputs, **options, training=True))

    def dropout(self, layer: Any, seed: int) -> Any:
        import tensorflow as tf

        return layer._dropout(tf.constant([seed, 0], tf.int64))

    def ways_to_run(self, model: Any, **options: Any) -> dict[str, Any]:
        import tensorflow as tf

        def run(*, jit: bool) -> Any:
            compiled = tf.function(lambda given: model(given, **options), jit_compile=jit)
            return lambda inputs: compiled({name: tf.constant(array) for name, array in inputs.items()})

        plain = {"plain": lambda inputs: model(**inputs, **options)}
        return plain | {"graph": run(jit=False), "XLA": run(jit=True)}

    def gradients_by_sample(
        self, model: Any, pixels: np.ndarray
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        import tensorflow as tf

        variables = [variable.value for variable in model.trainable_weights]

        def gradients(images: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.square(model(images).pooler_output))
            return [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, variables)]

        images = tf.constant(pixels)
        by_image = tf.vectorized_map(lambda image: gradients(image[None]), images)
        return flatten([tf.reduce_sum(array, 0) for array in by_image]), flatten(gradients(images))

    def losses(self, model: Any, inputs: dict[str, np.ndarray], steps: int, rate: float) -> list[float]:
        import keras

        model.compile(optimizer=keras.optimizers.Adam(rate))
        batch = len(next(iter(inputs.values())))
        return model.fit(inputs, batch_size=batch, epochs=steps, verbose=0).history["loss"]

    def runs_of_layers(self, model: Any, inputs: dict[str, np.ndarray], *, training: bool = True) -> int:
        attention = self.module("attention")
        with mock.patch.object(attention, "attend", wraps=attention.attend) as attend:
            self.gradients(model, inputs, dropout_seed=0 if training else None)
        return attend.call_count

    def gradients(
        self, model: Any, inputs: dict[str, np.ndarray], *, dropout_seed: int | None = None, **options: Any
    ) -> dict[str, np.ndarray]:
        import tensorflow as tf

        from clip_core.modeling.parameters import parameter_table
        from clip_tf.tensors import parameters

        if dropout_seed is not None:
            _seed_dropout(model, dropout_seed)
            options["training"] = True
        found = parameters(model, parameter_table(model.config, type(model).__name__))
        with tf.GradientTape() as tape:
            output = model(**inputs, **options)
            loss = output["loss"] if "loss" in output else _scalar(output)
        gradients = tape.gradient(loss, [parameter.variable.value for parameter in found.values()])
        arrays = flatten(output)
        for (name, parameter), gradient in zip(found.items(), gradients, strict=True):
            if gradient is not None:
                # Gradients of embedding tables are sparse.
                arrays[f"gradient.{name}"] = parameter.canonical(tf.convert_to_tensor(gradient).numpy())
        return arrays

    def value_and_gradient(self, function: Any, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        import tensorflow as tf

        tensor = tf.constant(array)
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            value = function(tensor)
        return value.numpy(), tape.gradient(value, tensor).numpy()

    def call(self, method: Any, inputs: dict[str, np.ndarray], **options: Any) -> np.ndarray:
        return flatten(method(**inputs, **options))[""]

    def activation(self, name: str, values: np.ndarray) -> np.ndarray:
        import tensorflow as tf

        from clip_tf.layers import ACTIVATION_FUNCTIONS

        return ACTIVATION_FUNCTIONS[name](tf.constant(values)).numpy()

    def weights(self, model: Any) -> dict[str, np.ndarray]:
        from clip_core.modeling.parameters import parameter_table
        from clip_tf.tensors import parameters

        names = parameter_table(model.config, type(model).__name__)
        return {name: parameter.read() for name, parameter in parameters(model, names).items()}

    def dtypes(self, model: Any) -> dict[str, str]:
        return {name: array.dtype.name for name, array in self.weights(model).items()}

    def cast(self, model: Any, dtype: str) -> Any:
        import tensorflow as tf

        made = type(model)(model.config, dtype=dtype)
        for one, other in zip(made.weights, model.weights, strict=True):
            one.assign(tf.cast(other, dtype))
        return made

    def state_dict(self, model: Any) -> Any:
        return self.weights(model)

    def to_save(self, model: Any) -> dict[str, Any]:
        return {"state_dict": self.weights(model)}

    def assign(self, model: Any, name: str, array: Any) -> None:
        import numpy as np

        from clip_tf.tensors import parameter

        parameter(model, name).assign(np.asarray(array))

    def add_one(self, model: Any) -> None:
        import tensorflow as tf

        for variable in model.weights:
            variable.value.assign_add(tf.ones_like(variable))


def _seed_dropout(model: Any, seed: int) -> None:
    """Start the random numbers of a model's towers again, each from a seed of its own, and those of Keras' dropout."""
    for number, layer in enumerate(model._flatten_layers()):
        for generator in (getattr(layer, "seeds", None), getattr(layer, "seed_generator", None)):
            if generator is not None:
                generator.state.assign((seed, number))


def _scalar(output: Any) -> Any:
    """Return the same as `support.oracle.scalar`."""
    import tensorflow as tf

    tensors = [value for value in output.values() if tf.is_tensor(value)]

    def weighted(value: Any) -> Any:
        slopes = tf.linspace(tf.constant(-1.0, tf.float64), tf.constant(2.0, tf.float64), tf.size(value))
        return tf.reduce_sum(tf.reshape(value, -1) * tf.cast(slopes, value.dtype))

    return sum(map(weighted, tensors))
