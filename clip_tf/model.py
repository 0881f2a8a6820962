"""CLIP: the two towers, projected into one space and compared (Radford et al. 2021)."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import tensorflow as tf

from clip_core.configuration import CLIPConfig
from clip_core.modeling.outputs import CLIPOutput, as_asked
from clip_tf.initialization import linear
from clip_tf.inputs import unpacked
from clip_tf.loss import clip_loss
from clip_tf.pretrained import CLIPPreTrainedModel
from clip_tf.tensors import at_least_float32
from clip_tf.text import CLIPTextTransformer
from clip_tf.vision import CLIPVisionTransformer


@keras.saving.register_keras_serializable(package="clip_tf")
class CLIPModel(CLIPPreTrainedModel):
    """CLIP's two towers with their projections and the learned temperature.

    Args:
        config: a CLIPConfig.
        **kwargs: what every Keras model takes: `name`, `dtype`, `trainable`.
    """

    config: CLIPConfig
    config_class = CLIPConfig
    main_input_name = "input_ids"
    main_output_name = "logits_per_image"

    def __init__(self, config: CLIPConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        text_width, vision_width = config.text_config.hidden_size, config.vision_config.hidden_size
        factor, dtype = config.initializer_factor, self.dtype_policy
        self.text_model = CLIPTextTransformer(config.text_config, name="text_model", dtype=dtype)
        self.vision_model = CLIPVisionTransformer(config.vision_config, name="vision_model", dtype=dtype)
        self.visual_projection = linear(
            vision_width,
            config.projection_dim,
            std=vision_width**-0.5 * factor,
            bias=False,
            name="visual_projection",
            dtype=dtype,
        )
        self.text_projection = linear(
            text_width,
            config.projection_dim,
            std=text_width**-0.5 * factor,
            bias=False,
            name="text_projection",
            dtype=dtype,
        )
        self.build()

    def build(self, input_shape: Any = None) -> None:
        """Make the weights."""
        start = keras.initializers.Constant(self.config.logit_scale_init_value)
        # Never cast down: the embeddings are compared in full precision.
        self.logit_scale = self.add_weight(shape=(), initializer=start, name="logit_scale", autocast=False)
        super().build(input_shape)

    @unpacked
    def get_text_features(
        self,
        input_ids: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,  # noqa: ARG002  an array is returned whatever it says
        training: bool = False,
        **ignored: Any,
    ) -> tf.Tensor:
        """Embed texts in the joint space.

        Args:
            input_ids: `(batch, seq)` token ids; here a dict, list or tuple may hold all inputs.
            attention_mask: `(batch, seq)`, 1 for tokens to attend to and 0 for padding.
            position_ids: `(batch or 1, seq)`, the position of each token.
            output_attentions: taken as in the reference, and of no effect on what is returned.
            output_hidden_states: likewise.
            return_dict: likewise.
            training: apply dropout, and recompute layers where gradient checkpointing is on.
            **ignored: other entries of a processor's output, dropped with a warning.

        Returns:
            `(batch, projection)`, not normalised.
        """
        _warn_of_ignored("get_text_features", ignored)
        pooled = self.text_model.pooled(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            training=training,
        )
        return self.text_projection(pooled)

    @unpacked
    def get_image_features(
        self,
        pixel_values: tf.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,  # noqa: ARG002  an array is returned whatever it says
        training: bool = False,
        interpolate_pos_encoding: bool = False,
        **ignored: Any,
    ) -> tf.Tensor:
        """Embed pictures in the joint space.

        Args:
            pixel_values: `(batch, channels, height, width)`, normalised; here a dict, list or tuple may hold all
                inputs.
            output_attentions: taken as in the reference, and of no effect on what is returned.
            output_hidden_states: likewise.
            return_dict: likewise.
            training: apply dropout, and recompute layers where gradient checkpointing is on.
            interpolate_pos_encoding: take pictures of another size by interpolating the position embeddings.
            **ignored: other entries of a processor's output, dropped with a warning.

        Returns:
            `(batch, projection)`, not normalised.
        """
        _warn_of_ignored("get_image_features", ignored)
        outputs = self.vision_model(
            pixel_values,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            interpolate_pos_encoding=interpolate_pos_encoding,
            training=training,
        )
        return self.visual_projection(outputs.pooler_output)

    def call(
        self,
        input_ids: tf.Tensor | None = None,
        pixel_values: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        return_loss: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool = False,
        interpolate_pos_encoding: bool = False,
    ) -> CLIPOutput[tf.Tensor] | tuple[Any, ...]:
        """Compare every picture with every text.

        Args:
            input_ids: `(texts, seq)` token ids. Here a dict, list or tuple may hold all inputs, by name or in this
                order.
            pixel_values: `(images, channels, height, width)`, normalised.
            attention_mask: `(texts, seq)`, 1 for tokens to attend to and 0 for padding.
            position_ids: `(texts or 1, seq)`, the position of each token.
            return_loss: return the contrastive loss; the batch then pairs each text with the picture at its place.
            output_attentions: return the attention weights of all layers of both towers.
            output_hidden_states: return the hidden states of all layers of both towers.
            return_dict: False for a plain tuple.
            training: apply dropout, and recompute layers where gradient checkpointing is on.
            interpolate_pos_encoding: take pictures of another size by interpolating the position embeddings.

        Returns:
            `logits_per_image` `(images, texts)`, `logits_per_text` `(texts, images)`, the embeddings of unit norm,
            and what the towers returned.
        """
        output_attentions = self.config.output_attentions if output_attentions is None else output_attentions
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        vision_outputs = self.vision_model(
            pixel_values,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            interpolate_pos_encoding=interpolate_pos_encoding,
            training=training,
        )
        text_outputs = self.text_model(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            training=training,
        )
        # In the variables' dtype: a mixed policy computes the towers in half precision, and the comparison in single.
        image_embeds = tf.cast(unit_norm(self.visual_projection(vision_outputs.pooler_output)), self.variable_dtype)
        text_embeds = tf.cast(unit_norm(self.text_projection(text_outputs.pooler_output)), self.variable_dtype)
        logits_per_text = tf.matmul(text_embeds, image_embeds, transpose_b=True) * tf.exp(self.logit_scale)
        compared = CLIPOutput(
            loss=clip_loss(logits_per_text) if return_loss else None,
            logits_per_image=tf.transpose(logits_per_text),
            logits_per_text=logits_per_text,
            text_embeds=text_embeds,
            image_embeds=image_embeds,
            text_model_output=text_outputs,
            vision_model_output=vision_outputs,
        )
        return as_asked(compared, self.config, return_dict)

    def own_loss(self, outputs: CLIPOutput[tf.Tensor], targets: Any) -> tf.Tensor:  # noqa: ARG002  pairs need no label
        """The loss that `fit` minimises where `compile` was given none: that of `call` with `return_loss=True`."""
        return clip_loss(outputs.logits_per_text)


def unit_norm(embeds: tf.Tensor) -> tf.Tensor:
    """Rows `(batch, projection)` divided by their Euclidean norm, in float32 at least."""
    embeds = at_least_float32(embeds)
    return embeds / tf.sqrt(tf.reduce_sum(tf.square(embeds), axis=-1, keepdims=True))


def _warn_of_ignored(method: str, ignored: dict[str, Any]) -> None:
    if ignored:
        warnings.warn(f"CLIPModel.{method} does not take {', '.join(map(repr, ignored))}; ignored", stacklevel=4)
