"""Methods that only transformers' TensorFlow models have: serving, `fit`, and the head of a language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from clip_tf.datasets import to_tf_dataset
from clip_tf.export import dummy_inputs, input_specs, served, serving_function

if TYPE_CHECKING:
    from collections.abc import Callable

    import tensorflow as tf

# Values of `loss` for which transformers' `compile` uses the model's own loss.
_OWN_LOSS = ("auto", "auto_with_warning", "passthrough")


class TensorFlowHandles:
    """A mixin for a Keras model with a `config`."""

    if TYPE_CHECKING:
        config: Any
        built: bool
        optimizer: Any
        trainable_variables: list[Any]
        build: Any

    def build_in_name_scope(self) -> None:
        """Create the weights, if they do not exist yet. Models of this package create them on construction."""
        if not self.built:
            self.build(None)

    # Serving

    @property
    def input_signature(self) -> dict[str, tf.TensorSpec]:
        """The shapes and dtypes of the texts and images that a call takes, by name."""
        return input_specs(self)

    @property
    def dummy_inputs(self) -> dict[str, tf.Tensor]:
        """A batch of one input for a call: a text of two tokens, an image, or both."""
        return dummy_inputs(self)

    @property
    def serving(self) -> Any:
        """The model's call as a `tf.function` of one dict of inputs, for `tf.saved_model.save(signatures=...)`."""
        return serving_function(self)

    def serving_output(self, output: Any) -> Any:
        """Return an output in the form that a served model returns.

        Args:
            output: the output of a call.

        Returns:
            An output of the same class. Hidden states and attention weights are stacked, `(layers, ...)`, if the
            configuration requests them, and omitted otherwise.
        """
        return served(output, self.config)

    # Training

    def prepare_tf_dataset(
        self,
        dataset: Any,
        batch_size: int = 8,
        shuffle: bool = True,
        tokenizer: Any = None,
        collate_fn: Callable[..., Any] | None = None,
        collate_fn_args: dict[str, Any] | None = None,
        drop_remainder: bool | None = None,
        prefetch: bool = True,
    ) -> tf.data.Dataset:
        """Return batches for `fit`: the columns of a dataset that a call takes, and its labels.

        Args:
            dataset: a `datasets.Dataset`.
            batch_size: number of examples in a batch.
            shuffle: shuffle the examples.
            tokenizer: pads the texts of a batch; None if all have the same length.
            collate_fn: makes a batch, a dict of arrays, from a list of examples; None stacks or pads the examples.
            collate_fn_args: further arguments of `collate_fn`.
            drop_remainder: omit the last batch if it is smaller; None does so if `shuffle` is true.
            prefetch: prepare batches ahead.

        Raises:
            TypeError: the dataset is of another kind.
            ValueError: it has no column that a call takes.
        """
        return to_tf_dataset(
            self,
            dataset,
            tokenizer=tokenizer,
            collate_fn=collate_fn,
            shuffle=shuffle,
            batch_size=batch_size,
            collate_fn_args=collate_fn_args,
            drop_remainder=drop_remainder,
            prefetch=prefetch,
        )

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Any = None,
        loss_weights: Any = None,
        weighted_metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        """Prepare the model for `fit`. The order of the arguments is that of transformers.

        Args:
            optimizer: a Keras optimizer, or its name.
            loss: a Keras loss for the main output; None, "auto", "auto_with_warning" or "passthrough" for the model's
                own loss.
            metrics: metrics of the main output.
            loss_weights: as in `keras.Model.compile`.
            weighted_metrics: as in `keras.Model.compile`.
            **kwargs: further keywords of `keras.Model.compile`; None selects its default.
        """
        if isinstance(loss, str) and loss in _OWN_LOSS:
            loss = None
        super().compile(  # type: ignore[misc]
            optimizer=optimizer,
            loss=loss,
            metrics=metrics,
            loss_weights=loss_weights,
            weighted_metrics=weighted_metrics,
            **{name: value for name, value in kwargs.items() if value is not None},
        )

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Prepare a model that was read from a file for `fit`; Keras does not do so if `compile` is overridden.

        Args:
            config: the result of `get_compile_config`.
        """
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    # The head of a language model, which CLIP lacks

    def get_lm_head(self) -> Any:
        """Return None. A subclass with the head of a language model overrides this method."""

    def get_output_layer_with_bias(self) -> Any:
        """Return the head of a language model, or None; the deprecated name of `get_lm_head`."""
        return self.get_lm_head()

    def get_prefix_bias_name(self) -> str | None:
        """Return None, as in transformers, where `get_bias` replaced this method."""

    def get_bias(self) -> Any:
        """Return the biases of the head by name, or None."""
        head = self.get_lm_head()
        return None if head is None else head.get_bias()

    def set_bias(self, value: Any) -> None:
        """Replace the biases of the head, if there is one.

        Args:
            value: the biases by name.
        """
        head = self.get_lm_head()
        if head is not None:
            head.set_bias(value)

    def get_output_embeddings(self) -> Any:
        """Return the output embedding of the head, or None."""
        head = self.get_lm_head()
        return None if head is None else head.get_output_embeddings()

    def set_output_embeddings(self, value: Any) -> None:
        """Replace the output embedding of the head, if there is one.

        Args:
            value: the new embedding.
        """
        head = self.get_lm_head()
        if head is not None:
            head.set_output_embeddings(value)

    def _get_word_embedding_weight(self, embedding_layer: Any) -> tf.Variable | None:
        """Return the table of an embedding layer as a TensorFlow variable, or None if it has none."""
        table = getattr(embedding_layer, "embeddings", None)
        return getattr(table, "value", table)
