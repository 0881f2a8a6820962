"""CLIP: the two towers, projected into one space and compared (Radford et al. 2021)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from clip_core.configuration import CLIPConfig
from clip_core.modeling.handles import FullModelHandles
from clip_core.modeling.inputs import warn_of_ignored
from clip_core.modeling.outputs import CLIPOutput, as_asked, outputs_asked
from clip_tf.initialization import projection
from clip_tf.inputs import unpacked
from clip_tf.loss import clip_loss
from clip_tf.pretrained import CLIPPreTrainedModel
from clip_tf.tensors import at_least_float32
from clip_tf.text import CLIPTextTransformer
from clip_tf.vision import CLIPVisionTransformer


@keras.saving.register_keras_serializable(package="clip_tf")
class CLIPModel(FullModelHandles, CLIPPreTrainedModel):
    """CLIP's two towers with their projections and the learned temperature.

    Args:
        config: a CLIPConfig.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras model.
    """

    config: CLIPConfig
    config_class = CLIPConfig
    main_input_name = "input_ids"
    main_output_name = "logits_per_image"

    def setup(self) -> None:
        """Create the temperature, the towers and their projections."""
        config, dtype = self.config, self.dtype_policy
        text, vision = config.text_config, config.vision_config
        start = keras.initializers.Constant(config.logit_scale_init_value)
        # Never cast down, because the embeddings are compared in full precision.
        self.logit_scale = self.add_weight(shape=(), initializer=start, name="logit_scale", autocast=False)
        self.text_model = CLIPTextTransformer(text, name="text_model", dtype=dtype)
        self.vision_model = CLIPVisionTransformer(vision, name="vision_model", dtype=dtype)
        self.visual_projection = projection(vision.hidden_size, config, name="visual_projection", dtype=dtype)
        self.text_projection = projection(text.hidden_size, config, name="text_projection", dtype=dtype)

    @unpacked
    def get_text_features(
        self,
        input_ids: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        output_attentions: bool | None = None,  # noqa: ARG002  the result is always one array
        output_hidden_states: bool | None = None,  # noqa: ARG002
        return_dict: bool | None = None,  # noqa: ARG002
        training: bool = False,
        **ignored: Any,
    ) -> tf.Tensor:
        """Embed texts in the joint space.

        Args:
            input_ids: `(batch, seq)` token ids; or a dict, list or tuple of all inputs.
            attention_mask: `(batch, seq)`, 1 for tokens to attend to and 0 for padding.
            position_ids: `(batch or 1, seq)`, the position of each token.
            output_attentions: accepted as in transformers, without effect.
            output_hidden_states: accepted as in transformers, without effect.
            return_dict: accepted as in transformers, without effect.
            training: apply dropout, and recompute layers if gradient checkpointing is on.
            **ignored: other entries of a processor's output, dropped with a warning.

        Returns:
            `(batch, projection)`, not normalized.
        """
        warn_of_ignored("get_text_features", ignored, stacklevel=4)
        pooled = self.text_model.pooled(input_ids, attention_mask, position_ids, training=training)
        return self.text_projection(pooled)

    @unpacked
    def get_image_features(
        self,
        pixel_values: tf.Tensor | None = None,
        output_attentions: bool | None = None,  # noqa: ARG002  the result is always one array
        output_hidden_states: bool | None = None,  # noqa: ARG002
        return_dict: bool | None = None,  # noqa: ARG002
        training: bool = False,
        interpolate_pos_encoding: bool = False,
        **ignored: Any,
    ) -> tf.Tensor:
        """Embed images in the joint space.

        Args:
            pixel_values: `(batch, channels, height, width)`, normalized; or a dict, list or tuple of all inputs.
            output_attentions: accepted as in transformers, without effect.
            output_hidden_states: accepted as in transformers, without effect.
            return_dict: accepted as in transformers, without effect.
            training: apply dropout, and recompute layers if gradient checkpointing is on.
            interpolate_pos_encoding: accept images of another size by interpolating the position embeddings.
            **ignored: other entries of a processor's output, dropped with a warning.

        Returns:
            `(batch, projection)`, not normalized.
        """
        warn_of_ignored("get_image_features", ignored, stacklevel=4)
        outputs = self.vision_model(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, training=training)
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
        """Compare every image with every text.

        Args:
            input_ids: `(texts, seq)` token ids; or a dict, list or tuple of all inputs, by name or in this order.
            pixel_values: `(images, channels, height, width)`, normalized.
            attention_mask: `(texts, seq)`, 1 for tokens to attend to and 0 for padding.
            position_ids: `(texts or 1, seq)`, the position of each token.
            return_loss: return the contrastive loss; each text is then paired with the image at the same index.
            output_attentions: return the attention weights of all layers of both towers.
            output_hidden_states: return the hidden states of all layers of both towers.
            return_dict: False for a plain tuple.
            training: apply dropout, and recompute layers if gradient checkpointing is on.
            interpolate_pos_encoding: accept images of another size by interpolating the position embeddings.

        Returns:
            `logits_per_image` `(images, texts)`, `logits_per_text` `(texts, images)`, the embeddings of unit norm,
            and the outputs of both towers.
        """
        output_attentions, output_hidden_states = outputs_asked(self.config, output_attentions, output_hidden_states)
        options: dict[str, Any] = {
            "output_attentions": output_attentions,
            "output_hidden_states": output_hidden_states,
            "training": training,
        }
        vision_outputs = self.vision_model(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, **options)
        text_outputs = self.text_model(input_ids, attention_mask=attention_mask, position_ids=position_ids, **options)
        # In the variables' dtype: a mixed policy runs the towers in half precision and this comparison in float32.
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
        """Return the loss that `fit` minimizes if `compile` got none: the loss of `call` with `return_loss=True`."""
        return clip_loss(outputs.logits_per_text)


def unit_norm(embeds: tf.Tensor) -> tf.Tensor:
    """Divide rows `(batch, projection)` by their Euclidean norm, in float32 at least."""
    embeds = at_least_float32(embeds)
    return embeds / tf.sqrt(tf.reduce_sum(tf.square(embeds), axis=-1, keepdims=True))
