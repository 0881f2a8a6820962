"""The text tower: a causal transformer over tokens, pooled at the EOS token (Radford et al. 2021, section 2.4)."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import tensorflow as tf

from clip_core.configuration import CLIPTextConfig
from clip_core.modeling.inputs import check_eos, check_text_length, number_of_tokens, required, unknown_ids
from clip_core.modeling.outputs import BaseModelOutputWithPooling, CLIPTextModelOutput, as_asked, outputs_asked
from clip_core.modeling.towers import TextTowerHandles
from clip_core.modeling.trimming import hides_what_is_read, parts_to_read
from clip_tf.initialization import CLIPEmbeddings, CLIPLayer, embedding, layer_norm, projection
from clip_tf.layers import CLIPEncoder
from clip_tf.plan import choose_implementation, text_plan
from clip_tf.pretrained import CLIPPreTrainedModel
from clip_tf.tensors import known_values


class CLIPTextEmbeddings(CLIPEmbeddings):
    """Token embeddings plus learned position embeddings."""

    def __init__(self, config: CLIPTextConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        width, dtype = config.hidden_size, self.dtype_policy
        std = 0.02 * config.initializer_factor  # not initializer_range: as in transformers
        self.token_embedding = embedding(config.vocab_size, width, std=std, name="token_embedding", dtype=dtype)
        self.position_embedding = embedding(
            config.max_position_embeddings, width, std=std, name="position_embedding", dtype=dtype
        )

    def call(
        self,
        input_ids: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        inputs_embeds: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Embed ids `(batch, seq)` at their positions `(batch or 1, seq)`: `(batch, seq, hidden)`.

        `inputs_embeds` `(batch, seq, hidden)` replace the tokens' embeddings.
        """
        check_text_length(number_of_tokens(input_ids, inputs_embeds), self.position_embedding.input_dim)
        if inputs_embeds is None:
            self.check_ids(input_ids)
            inputs_embeds = self.token_embedding(input_ids)
        if position_ids is None:
            position_ids = tf.range(tf.shape(inputs_embeds)[1])[None]
        return inputs_embeds + self.position_embedding(position_ids)

    def check_ids(self, input_ids: tf.Tensor) -> None:
        """Check that ids are in the vocabulary, if their values are known; on a GPU, others embed as zeros."""
        count = getattr(self.token_embedding, "input_dim", None)  # it may have been replaced by another layer
        if count is None or not tf.executing_eagerly():
            return
        if tf.reduce_any(tf.logical_or(input_ids < 0, input_ids >= count)):
            raise unknown_ids(count)


class CLIPTextTransformer(TextTowerHandles, CLIPLayer):
    """The text tower without a head."""

    _known_values = staticmethod(known_values)

    def __init__(self, config: CLIPTextConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        dtype = self.dtype_policy
        self.embeddings = CLIPTextEmbeddings(config, name="embeddings", dtype=dtype)
        self.encoder = CLIPEncoder(config, name="encoder", dtype=dtype)
        self.final_layer_norm = layer_norm(
            config.hidden_size, epsilon=config.layer_norm_eps, name="final_layer_norm", dtype=dtype
        )

    def call(
        self,
        input_ids: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        training: bool = False,
    ) -> BaseModelOutputWithPooling[tf.Tensor]:
        """Run the tower. Takes the arguments of `CLIPTextModel`."""
        input_ids = required("input_ids", input_ids)
        config = self.config
        output_attentions, output_hidden_states = outputs_asked(config, output_attentions, output_hidden_states)

        known = input_ids.shape[-1]
        seq = tf.shape(input_ids)[-1] if known is None else known
        input_ids = tf.reshape(input_ids, (-1, seq))
        hidden_states = self.embeddings(input_ids, position_ids=position_ids)
        implementation = choose_implementation(config, output_attentions=output_attentions)
        encoded = self.encoder(
            hidden_states,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            plan=text_plan(implementation, attention_mask, hidden_states),
            training=training,
        )
        last_hidden_state = self.final_layer_norm(encoded.last_hidden_state)
        pooled = tf.gather(last_hidden_state, self.eos_positions(input_ids), batch_dims=1)
        return BaseModelOutputWithPooling.of(encoded, last_hidden_state=last_hidden_state, pooler_output=pooled)

    def pooled(
        self,
        input_ids: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        *,
        training: bool = False,
    ) -> tf.Tensor:
        """Return only the pooled output, `(batch, hidden)`, without reading tokens that cannot change it.

        Eager calls without `position_ids` do so; other calls read every token. See `clip_core.modeling.trimming`.
        """
        lengths = None
        if position_ids is None:
            lengths = self.lengths_to_read(input_ids, attention_mask, training=training)
        if lengths is None:
            return self(input_ids, attention_mask, position_ids, training=training).pooler_output
        if attention_mask is not None and not hides_what_is_read(attention_mask.numpy(), lengths):
            attention_mask = None
        order, pooled = [], []
        for rows, length in parts_to_read(lengths):
            mask = None if attention_mask is None else tf.gather(attention_mask, rows)[:, :length]
            ids = tf.gather(input_ids, rows)[:, :length]
            pooled.append(self(ids, mask, training=training).pooler_output)
            order.append(rows)
        return tf.gather(tf.concat(pooled, axis=0), tf.argsort(tf.concat(order, axis=0)))

    def eos_positions(self, input_ids: tf.Tensor) -> tf.Tensor:
        """Return the position of the pooled token in each row of ids `(batch, seq)`: `(batch,)`.

        It is the first EOS token. A row without EOS is pooled at position 0, as in transformers, or raises an error in
        eager calls if `config.missing_eos` is "error". The legacy `eos_token_id` 2 pools at the largest id.
        """
        if self.config.pools_at_largest_id:
            return _first(tf.equal(input_ids, tf.reduce_max(input_ids, axis=-1, keepdims=True)))
        is_eos = tf.equal(input_ids, tf.constant(self.config.eos_token_id, input_ids.dtype))
        if self.config.missing_eos == "error" and tf.executing_eagerly():
            check_eos(is_eos.numpy().any(axis=-1), self.config.eos_token_id)
        return _first(is_eos)


def _first(flags: tf.Tensor) -> tf.Tensor:
    """Return the index of the first True in each row `(batch, seq)`, or 0; tf.argmax does not guarantee the first."""
    seq = tf.shape(flags)[-1]
    place = tf.reduce_min(tf.where(flags, tf.range(seq), seq), axis=-1)
    return tf.where(tf.equal(place, seq), 0, place)


class _TextModel(CLIPPreTrainedModel):
    """A text tower and the head applied to its outputs."""

    config: CLIPTextConfig
    config_class = CLIPTextConfig
    main_input_name = "input_ids"
    _no_split_modules: ClassVar[list[str] | None] = ["CLIPTextEmbeddings", "CLIPEncoderLayer"]
    main_output_name = "pooler_output"

    def setup(self) -> None:
        """Create the tower."""
        self.text_model = CLIPTextTransformer(self.config, name="text_model", dtype=self.dtype_policy)

    def call(
        self,
        input_ids: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool = False,
    ) -> BaseModelOutputWithPooling[tf.Tensor] | tuple[Any, ...]:
        """Encode texts.

        Args:
            input_ids: `(batch, seq)` token ids, seq at most `max_position_embeddings`. Or a dict, list or tuple
                of all inputs, by name or in this order.
            attention_mask: `(batch, seq)`, 1 for tokens to attend to and 0 for padding.
            position_ids: `(batch or 1, seq)`, the position of each token; by default 0, 1, 2 and so on.
            output_attentions: return the attention weights of all layers (only with eager attention).
            output_hidden_states: return the hidden states of all layers.
            return_dict: False for a plain tuple.
            training: apply dropout, and recompute layers if gradient checkpointing is on.

        Returns:
            `last_hidden_state` `(batch, seq, hidden)` and `pooler_output` `(batch, hidden)`, the state at EOS.

        Raises:
            ValueError: the text is longer than the position table, or the mask and the ids differ in shape.
            IndexError: an id is outside the vocabulary; raised in eager calls only.
        """
        outputs = self.text_model(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            training=training,
        )
        return as_asked(self._head(outputs), self.config, return_dict)


@keras.saving.register_keras_serializable(package="clip_tf")
class CLIPTextModel(_TextModel):
    """The text tower of CLIP, without projection.

    Args:
        config: a CLIPTextConfig, or a CLIPConfig, whose text part is used.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras model.
    """


@keras.saving.register_keras_serializable(package="clip_tf")
class CLIPTextModelWithProjection(_TextModel):
    """The text tower of CLIP with the projection into the joint space.

    A call takes the arguments of CLIPTextModel and returns `text_embeds` `(batch, projection)`, not normalized, and
    `last_hidden_state` `(batch, seq, hidden)`.

    Args:
        config: a CLIPTextConfig, or a CLIPConfig, whose text part is used.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras model.
    """

    main_output_name = "text_embeds"

    def setup(self) -> None:
        """Create the tower and its projection."""
        super().setup()
        width, dtype = self.config.hidden_size, self.dtype_policy
        self.text_projection = projection(width, self.config, name="text_projection", dtype=dtype)

    def _head(self, outputs: BaseModelOutputWithPooling[tf.Tensor]) -> CLIPTextModelOutput[tf.Tensor]:
        """Project the pooled output of the tower."""
        return CLIPTextModelOutput.of(outputs, text_embeds=self.text_projection(outputs.pooler_output))
