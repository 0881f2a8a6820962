"""The handles that every model class offers: embeddings, pruning, gradient checkpointing, and what Keras asks for."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any, ClassVar, cast

import keras
import tensorflow as tf

from clip_core.configuration.clip import own_config
from clip_core.modeling.embeddings import new_vocab_size, warn_of_legacy_pooling
from clip_core.modeling.pruning import heads_by_tower
from clip_tf.attention import check_implementation
from clip_tf.export import export_saved_model
from clip_tf.initialization import build_sublayers, embedding
from clip_tf.inputs import unpack
from clip_tf.layers import CLIPEncoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from clip_tf.initialization import CLIPLayer


class CLIPBaseModel(keras.Model):
    """A model and its configuration.

    Args:
        config: the model's configuration. A class of one tower also takes a CLIPConfig and picks its tower's.
        **kwargs: what every Keras model takes: `name`, `dtype`, `trainable`.
    """

    config_class: ClassVar[type[Any]]
    base_model_prefix = "clip"
    main_input_name = "input_ids"
    main_output_name: ClassVar[str]
    supports_gradient_checkpointing = True

    def __init__(self, config: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config: Any = own_config(config, self.config_class, type(self).__name__)
        for part in (self.config, *(getattr(self.config, key) for key in self.config.sub_configs)):
            check_implementation(part.attn_implementation)

    def build(self, input_shape: Any = None) -> None:  # noqa: ARG002  Keras passes what is known already
        """Make the weights of all sublayers."""
        build_sublayers(self._layers)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model; inputs by keyword, in order, or all in a dict, list or tuple."""
        return super().__call__(**unpack(inspect.signature(self.call), args, kwargs))

    @property
    def name_or_path(self) -> str:
        """Where the configuration was read from."""
        return cast("str", self.config.name_or_path)

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """The number of parameters; embeddings are the tables and the patch convolution."""
        return sum(
            math.prod(variable.shape)
            for variable in (self.trainable_weights if only_trainable else self.weights)
            if variable.dtype.startswith(("float", "bfloat"))
            and not (exclude_embeddings and "_embedding/" in variable.path)
        )

    def set_attn_implementation(self, attn_implementation: str | dict[str, str]) -> None:
        """Change the attention implementation of a model at hand.

        Args:
            attn_implementation: one for all; or a dict that tells the towers apart, as in {"text_config": "eager"}.

        Raises:
            ValueError: no implementation has this name; nothing is changed then.
        """
        if isinstance(attn_implementation, dict):
            attn_implementation = {key: check_implementation(name) for key, name in attn_implementation.items()}
        else:
            attn_implementation = check_implementation(attn_implementation)
        self.config.attn_implementation = attn_implementation

    # Embeddings

    def _input_embedding(self) -> tuple[CLIPLayer, str]:
        """The layer that holds the input embedding, and its name there."""
        tower: Any = getattr(self, "text_model", None)
        if tower is not None:
            return tower.embeddings, "token_embedding"
        tower = self.vision_model
        return tower.embeddings, "patch_embedding"

    def get_input_embeddings(self) -> keras.layers.Layer:
        """The token embedding, or for a model without a text tower the patch embedding."""
        return getattr(*self._input_embedding())

    def set_input_embeddings(self, value: keras.layers.Layer) -> None:
        """Replace the token embedding, or for a model without a text tower the patch embedding."""
        holder, name = self._input_embedding()
        holder.exchange(name, value)

    def get_output_embeddings(self) -> None:
        """None: CLIP has no output embedding. Libraries for fine-tuning ask."""

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> keras.layers.Embedding:
        """Grow or cut the token embedding, and note the new `vocab_size` in the configuration.

        Args:
            new_num_tokens: the new number of tokens, `len(tokenizer)` after tokens were added; None to keep it.
            pad_to_multiple_of: round the number up to a multiple of this.
            mean_resizing: start new rows at the mean of the old (Hewitt 2021), where transformers draws them next to
                it; otherwise draw them as a fresh model does.

        Returns:
            The embedding, which is also in its place in the model.

        Raises:
            TypeError: the model has no text tower.
        """
        old = self.get_input_embeddings()
        if not isinstance(old, keras.layers.Embedding):
            raise TypeError(f"{type(self).__name__} has no token embedding; resize_token_embeddings needs one")
        count = new_vocab_size(old.input_dim, new_num_tokens, pad_to_multiple_of)
        text_config = getattr(self.config, "text_config", self.config)
        warn_of_legacy_pooling(text_config, old.input_dim, count)
        if count != old.input_dim:
            self.set_input_embeddings(_resized(old, count, text_config.initializer_factor, mean_resizing=mean_resizing))
        text_config.vocab_size = count
        return self.get_input_embeddings()

    # Pruning

    def prune_heads(self, heads_to_prune: Mapping[Any, Any]) -> None:
        """Remove attention heads for good, and note them in the configuration.

        Args:
            heads_to_prune: layer index to heads, numbered as in the unpruned model. For a CLIPModel, one such mapping
                under "text_model", "vision_model" or both.

        Raises:
            ValueError: a layer or head does not exist, or a layer would lose its last head.
        """
        towers = [name for name in ("text_model", "vision_model") if hasattr(self, name)]
        for name, heads in heads_by_tower(heads_to_prune, towers).items():
            getattr(self, name).prune_heads(heads)

    # Training

    def gradient_checkpointing_enable(self) -> None:
        """Recompute each layer in the backward pass instead of keeping its inner states: less memory, more time."""
        for encoder in self._encoders():
            encoder.gradient_checkpointing = True

    def gradient_checkpointing_disable(self) -> None:
        """Undo `gradient_checkpointing_enable`."""
        for encoder in self._encoders():
            encoder.gradient_checkpointing = False

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether any tower recomputes its layers."""
        return any(encoder.gradient_checkpointing for encoder in self._encoders())

    def _encoders(self) -> Iterable[CLIPEncoder]:
        return (layer for layer in self._flatten_layers() if isinstance(layer, CLIPEncoder))

    def own_loss(self, outputs: Any, targets: Any) -> tf.Tensor:  # noqa: ARG002  classes with a loss override it
        """The loss that `fit` minimises where `compile` was given none."""
        raise ValueError(f"{type(self).__name__} has no loss of its own; give one to compile(loss=...)")

    # What Keras asks for

    def export(self, filepath: Any, format: str = "tf_saved_model", verbose: bool = True, **kwargs: Any) -> None:  # noqa: A002
        """Write the model for serving.

        A SavedModel has named signatures, a batch of any size and texts of any length, and needs neither Keras nor
        clip-zoo to run: `serving_default`, and for a CLIPModel `get_text_features` and `get_image_features`.

        Args:
            filepath: the folder, or the file where the format is one.
            format: "tf_saved_model", or another of `keras.Model.export`.
            verbose: print where the model went.
            **kwargs: further keywords of `keras.Model.export`, which with `input_signature` does all of it.
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
        """The loss of a step of `fit`: that given to `compile`, of the main output; or the model's own."""
        if self._compile_loss is None:
            # Keras adds up the losses of several devices, and its own are scaled likewise.
            return self.own_loss(y_pred, y) / tf.distribute.get_strategy().num_replicas_in_sync
        return super().compute_loss(x, y, self._main_output(y_pred), sample_weight, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """The metrics given to `compile`, of the main output."""
        return cast("dict[str, Any]", super().compute_metrics(x, y, self._main_output(y_pred), sample_weight))

    def _main_output(self, outputs: Any) -> Any:
        return outputs[self.main_output_name] if hasattr(outputs, "items") else outputs

    def get_config(self) -> dict[str, Any]:
        """What `keras.saving` needs to make the model anew."""
        towers = {key: getattr(self.config, key).attn_implementation for key in self.config.sub_configs}
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "config": self.config.to_dict(),
            "attn_implementation": {"": self.config.attn_implementation, **towers},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:  # noqa: ARG003  Keras' signature
        """A model from what `get_config` gave."""
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
