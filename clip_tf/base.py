"""Methods shared by all model classes: embeddings, pruning, gradient checkpointing, and methods that Keras requires."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, cast

import keras
import tensorflow as tf

from clip_core.modeling.handles import ModelHandles
from clip_tf.export import export_saved_model
from clip_tf.handles import TensorFlowHandles
from clip_tf.initialization import build_sublayers, embedding
from clip_tf.inputs import call_signature, unpack
from clip_tf.layers import CLIPEncoder
from clip_tf.plan import check_implementation

if TYPE_CHECKING:
    from collections.abc import Iterable


_MAY_BE_ITSELF = {"base_model", "clip"}


class ItsOwn:
    """A descriptor that returns the object itself, until something else is assigned to its name."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Return the object."""
        return self if instance is None else instance


class CLIPBaseModel(TensorFlowHandles, ModelHandles, keras.Model):
    """A model and its configuration.

    Args:
        config: the model's configuration. A class with one tower also takes a CLIPConfig and uses that tower's part.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras model.
    """

    main_output_name: ClassVar[str] = "logits"
    clip = ItsOwn()  # transformers' main layer; here, the model itself
    framework = "tf"
    _check_implementation = staticmethod(check_implementation)
    _package = __name__.partition(".")[0]

    def __init__(self, config: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config: Any = self._own_config(config)
        self.name_or_path = self.config.name_or_path
        self.setup()
        if self.is_derived():  # more layers may follow; Keras forbids adding layers to a built model
            build_sublayers(self._layers)
        else:
            self.build()

    def setup(self) -> None:
        """Create the parts of the model; each model class overrides it."""

    def build(self, input_shape: Any = None) -> None:  # noqa: ARG002  the shapes that Keras passes are already known
        """Create the weights of all sublayers."""
        build_sublayers(self._layers)

    def __dir__(self) -> Iterable[str]:
        """Return the names of attributes, without those that may return this model itself.

        Keras follows attributes when it reads a file, and would never finish.
        """
        return [name for name in super().__dir__() if name in vars(self) or name not in _MAY_BE_ITSELF]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model. Inputs are given by keyword, in order, or all in a dict, list or tuple."""
        return super().__call__(**unpack(call_signature(type(self)), args, kwargs))

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Return the number of parameters.

        Args:
            only_trainable: count only trainable parameters.
            exclude_embeddings: leave out the embedding tables.
        """
        tables = {
            id(variable)
            for layer in self._flatten_layers()
            if exclude_embeddings and isinstance(layer, keras.layers.Embedding)
            for variable in layer.weights
        }
        return sum(
            math.prod(variable.shape)
            for variable in (self.trainable_weights if only_trainable else self.weights)
            if variable.dtype.startswith(("float", "bfloat")) and id(variable) not in tables
        )

    def get_memory_footprint(self) -> int:
        """Return the number of bytes of the weights."""
        return sum(math.prod(variable.shape) * tf.as_dtype(variable.dtype).size for variable in self.weights)

    def set_input_embeddings(self, value: keras.layers.Layer) -> None:
        """Replace the token embedding, or the patch embedding of a model without a text tower."""
        holder, name = self._input_embedding()
        holder.exchange(name, value)

    def _vocab_size(self) -> int | None:
        embeddings = self.get_input_embeddings()
        return embeddings.input_dim if isinstance(embeddings, keras.layers.Embedding) else None

    def _resize(self, count: int, initializer_factor: float, *, mean_resizing: bool) -> None:
        old: keras.layers.Embedding = self.get_input_embeddings()
        self.set_input_embeddings(_resized(old, count, initializer_factor, mean_resizing=mean_resizing))

    def _encoders(self) -> Iterable[CLIPEncoder]:
        return (layer for layer in self._flatten_layers() if isinstance(layer, CLIPEncoder))

    def own_loss(self, outputs: Any, targets: Any) -> tf.Tensor:  # noqa: ARG002  classes with a loss override it
        """Return the loss that `fit` minimizes if `compile` got none.

        Args:
            outputs: the model's outputs; a subclass may return its loss among them.
            targets: the labels given to `fit`, or None.

        Raises:
            ValueError: the class has no loss of its own, or there are no labels.
        """
        if hasattr(outputs, "get") and outputs.get("loss") is not None:
            return tf.reduce_mean(outputs["loss"])
        raise ValueError(f"{type(self).__name__} has no loss of its own; give one to compile(loss=...)")

    # Methods that Keras requires

    def export(self, filepath: Any, format: str = "tf_saved_model", verbose: bool = True, **kwargs: Any) -> None:  # noqa: A002
        """Write the model for serving.

        A SavedModel has named signatures for any batch size and text length, and runs without Keras or clip-zoo:
        `serving_default` and, for a CLIPModel, `get_text_features` and `get_image_features`.

        Args:
            filepath: the folder, or the file for formats that consist of one file.
            format: "tf_saved_model", or another format of `keras.Model.export`.
            verbose: print the location of the model.
            **kwargs: further keywords of `keras.Model.export`, which then writes the export.
        """
        if format == "tf_saved_model" and not kwargs:
            export_saved_model(self, filepath, verbose=verbose)
        else:
            super().export(filepath, format=format, verbose=verbose, **kwargs)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Return the loss of a step of `fit`: the loss given to `compile`, for the main output, or the model's own."""
        if self._compile_loss is None:
            # Keras sums the losses of several devices, and scales its own losses in the same way.
            return self.own_loss(y_pred, y) / tf.distribute.get_strategy().num_replicas_in_sync
        return super().compute_loss(x, y, self._main_output(y_pred), sample_weight, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Return the metrics given to `compile`, for the main output."""
        return cast("dict[str, Any]", super().compute_metrics(x, y, self._main_output(y_pred), sample_weight))

    def _main_output(self, outputs: Any) -> Any:
        return outputs[self.main_output_name] if hasattr(outputs, "items") else outputs

    def get_config(self) -> dict[str, Any]:
        """Return the data from which `keras.saving` rebuilds the model."""
        towers = {key: getattr(self.config, key).attn_implementation for key in self.config.sub_configs}
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "config": self.config.to_dict(),
            "attn_implementation": {"": self.config.attn_implementation, **towers},
        }

    @classmethod
    def from_config(cls, config: Any, custom_objects: Any = None, **kwargs: Any) -> Any:  # noqa: ARG003  Keras' own
        """Create a model with newly initialized weights.

        Args:
            config: the result of `get_config`; or, as in transformers, a configuration or its `to_dict()`.
            custom_objects: accepted as in Keras, but not needed.
            **kwargs: further arguments of the class, for a configuration; `attn_implementation` changes it.
        """
        if not isinstance(config, dict):
            return cls._from_config(config, **kwargs)
        if "config" not in config:
            return cls._from_config(cls.config_class.from_dict(config), **kwargs)
        fields = dict(config)
        own = cls.config_class.from_dict(
            fields.pop("config"), attn_implementation=fields.pop("attn_implementation", None)
        )
        fields["dtype"] = keras.dtype_policies.deserialize(fields["dtype"])
        return cls(own, **fields)


def _resized(
    old: keras.layers.Embedding, count: int, initializer_factor: float, *, mean_resizing: bool
) -> keras.layers.Embedding:
    table = tf.convert_to_tensor(old.embeddings)
    new = embedding(count, old.output_dim, std=0.02 * initializer_factor, name=old.name, dtype=old.dtype_policy)
    new.build(None)
    kept = table[:count]
    added = tf.convert_to_tensor(new.embeddings)[old.input_dim :]
    if mean_resizing:
        mean = tf.cast(tf.reduce_mean(tf.cast(table, tf.float32), axis=0, keepdims=True), table.dtype)
        added = tf.broadcast_to(mean, tf.shape(added))
    new.embeddings.assign(tf.concat([kept, added], axis=0))
    new.trainable = old.trainable
    return new
