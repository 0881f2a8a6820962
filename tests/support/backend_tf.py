"""TensorFlow as the shared suite sees it; see `support.backends`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.oracle import flatten

if TYPE_CHECKING:
    import numpy as np


class TensorFlowBackend:
    name = "tf"

    def build(self, class_name: str, config: Any, seed: int = 0) -> Any:
        import keras

        import clip_tf

        keras.utils.set_random_seed(seed)
        return getattr(clip_tf, class_name)(config)

    def load(self, class_name: str, source: Any, **options: Any) -> Any:
        import clip_tf

        return getattr(clip_tf, class_name).from_pretrained(source, **options)

    def forward(self, model: Any, inputs: dict[str, np.ndarray], **options: Any) -> dict[str, np.ndarray]:
        return flatten(model(**inputs, **options))

    def gradients(self, model: Any, inputs: dict[str, np.ndarray], **options: Any) -> dict[str, np.ndarray]:
        import tensorflow as tf

        from clip_core.modeling.parameters import parameter_table
        from clip_tf.tensors import parameters

        found = parameters(model, parameter_table(model.config, type(model).__name__))
        with tf.GradientTape() as tape:
            output = model(**inputs, **options)
            loss = output["loss"] if "loss" in output else _scalar(output)
        gradients = tape.gradient(loss, [parameter.variable.value for parameter in found.values()])
        arrays = flatten(output)
        for (name, parameter), gradient in zip(found.items(), gradients, strict=True):
            if gradient is not None:
                # Those of tables are sparse.
                arrays[f"gradient.{name}"] = parameter.canonical(tf.convert_to_tensor(gradient).numpy())
        return arrays

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


def _scalar(output: Any) -> Any:
    """As `support.oracle.scalar`."""
    import tensorflow as tf

    tensors = [value for value in output.values() if tf.is_tensor(value)]
    return sum(tf.reduce_sum(tf.reshape(value, -1) * tf.linspace(-1.0, 2.0, tf.size(value))) for value in tensors)
