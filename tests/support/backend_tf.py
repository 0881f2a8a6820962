"""TensorFlow for the shared suite; see `support.backends`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any

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

    def train(self, model: Any, inputs: dict[str, np.ndarray], seed: int, **options: Any) -> dict[str, np.ndarray]:
        import keras

        keras.utils.set_random_seed(seed)
        return flatten(model(**inputs, **options, training=True))

    def gradients(
        self, model: Any, inputs: dict[str, np.ndarray], *, dropout_seed: int | None = None, **options: Any
    ) -> dict[str, np.ndarray]:
        import keras
        import tensorflow as tf

        from clip_core.modeling.parameters import parameter_table
        from clip_tf.tensors import parameters

        if dropout_seed is not None:
            keras.utils.set_random_seed(dropout_seed)
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

    def assign(self, model: Any, name: str, array: Any) -> None:
        import numpy as np

        from clip_tf.tensors import parameter

        parameter(model, name).assign(np.asarray(array))

    def add_one(self, model: Any) -> None:
        import tensorflow as tf

        for variable in model.weights:
            variable.value.assign_add(tf.ones_like(variable))


def _scalar(output: Any) -> Any:
    """As `support.oracle.scalar`."""
    import tensorflow as tf

    tensors = [value for value in output.values() if tf.is_tensor(value)]

    def weighted(value: Any) -> Any:
        slopes = tf.linspace(tf.constant(-1.0, tf.float64), tf.constant(2.0, tf.float64), tf.size(value))
        return tf.reduce_sum(tf.reshape(value, -1) * tf.cast(slopes, value.dtype))

    return sum(map(weighted, tensors))
