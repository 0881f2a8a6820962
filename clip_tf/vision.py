"""The vision tower: a ViT over patches, pooled at the class token (Dosovitskiy et al. 2021, with CLIP's pre-norm)."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import keras
import tensorflow as tf

from clip_core.configuration import CLIPConfig, CLIPVisionConfig
from clip_core.modeling.embeddings import bicubic_matrix
from clip_core.modeling.inputs import check_pixel_shape, required
from clip_core.modeling.outputs import (
    BaseModelOutputWithPooling,
    CLIPVisionModelOutput,
    ImageClassifierOutput,
    as_asked,
    outputs_asked,
)
from clip_core.modeling.towers import TowerHandles, VisionEmbeddingsHandles
from clip_tf.initialization import (
    CLIPEmbeddings,
    CLIPLayer,
    embedding,
    layer_norm,
    linear,
    normal,
    patch_convolution,
    projection,
)
from clip_tf.layers import CLIPEncoder
from clip_tf.loss import classification_loss
from clip_tf.plan import AttentionPlan, choose_implementation
from clip_tf.pretrained import CLIPPreTrainedModel


class CLIPVisionEmbeddings(VisionEmbeddingsHandles, CLIPEmbeddings):
    """A class token and patch embeddings, plus learned position embeddings."""

    def __init__(self, config: CLIPVisionConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.embed_dim = width = config.hidden_size
        factor, dtype = config.initializer_factor, self.dtype_policy
        self.image_size, self.patch_size = config.image_size, config.patch_size
        self.num_channels = config.num_channels
        self.num_patches = (config.image_size // config.patch_size) ** 2
        std = config.initializer_range * factor
        self.class_initializer = normal(width**-0.5 * factor)
        self.patch_embedding = patch_convolution(
            config.num_channels, width, config.patch_size, std=std, name="patch_embedding", dtype=dtype
        )
        self.position_embedding = embedding(
            self.num_patches + 1, width, std=std, name="position_embedding", dtype=dtype
        )

    def build(self, input_shape: Any = None) -> None:
        """Create the weights."""
        width = self.patch_embedding.filters
        self.class_embedding = self.add_weight(
            shape=(width,), initializer=self.class_initializer, name="class_embedding"
        )
        super().build(input_shape)

    def call(self, pixel_values: tf.Tensor, interpolate_pos_encoding: bool = False) -> tf.Tensor:
        """Embed images `(batch, channels, height, width)`: `(batch, 1 + patches, hidden)`."""
        shape = tuple(pixel_values.shape)
        check_pixel_shape(shape, self, interpolate=interpolate_pos_encoding)
        height, width = shape[2:]
        pixel_values = tf.transpose(tf.cast(pixel_values, self.compute_dtype), (0, 2, 3, 1))  # channels last
        patches = self.patch_embedding(pixel_values)  # (batch, rows, cols, hidden)
        batch, hidden = tf.shape(patches)[0], self.patch_embedding.filters
        count = tf.reduce_prod(tf.shape(pixel_values)[1:3] // self.patch_size)  # also correct for an empty batch
        patches = tf.reshape(patches, (batch, count, hidden))
        class_token = tf.cast(self.class_embedding, patches.dtype)
        embeddings = tf.concat([tf.broadcast_to(class_token, (batch, 1, hidden)), patches], axis=1)
        if interpolate_pos_encoding and (height, width) != (self.image_size, self.image_size):
            return embeddings + self.interpolated_positions(height, width)
        return embeddings + self.position_embedding(self.position_ids)

    def interpolated_positions(self, height: int, width: int) -> tf.Tensor:
        """Interpolate the position embeddings to another image size, bicubically: `(1, 1 + patches, hidden)`.

        After DINO (facebookresearch/dino, vision_transformer.py), as in transformers: the grid is resized to the
        number of whole patches, with half-pixel centres, and the class token's embedding is kept.
        """
        table = self.position_embedding(self.position_ids)[0]
        side = math.isqrt(self.num_patches)
        grid = tf.reshape(table[1:], (side, side, -1))  # (side, side, hidden)
        down, across = (
            tf.constant(bicubic_matrix(side, size // self.patch_size), table.dtype) for size in (height, width)
        )
        grid = tf.einsum("hs,wt,std->hwd", down, across, grid)
        return tf.concat([table[:1], tf.reshape(grid, (-1, table.shape[-1]))], axis=0)[None]


class CLIPVisionTransformer(TowerHandles, CLIPLayer):
    """The vision tower without a head."""

    def __init__(self, config: CLIPVisionConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        width, epsilon, dtype = config.hidden_size, config.layer_norm_eps, self.dtype_policy
        self.embeddings = CLIPVisionEmbeddings(config, name="embeddings", dtype=dtype)
        # Spelled as in transformers.
        self.pre_layrnorm = layer_norm(width, epsilon=epsilon, name="pre_layrnorm", dtype=dtype)
        self.encoder = CLIPEncoder(config, name="encoder", dtype=dtype)
        self.post_layernorm = layer_norm(width, epsilon=epsilon, name="post_layernorm", dtype=dtype)

    def call(
        self,
        pixel_values: tf.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        interpolate_pos_encoding: bool = False,
        training: bool = False,
    ) -> BaseModelOutputWithPooling[tf.Tensor]:
        """Run the tower. Takes the arguments of `CLIPVisionModel`."""
        pixel_values = required("pixel_values", pixel_values)
        config = self.config
        output_attentions, output_hidden_states = outputs_asked(config, output_attentions, output_hidden_states)

        hidden_states = self.embeddings(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding)
        implementation = choose_implementation(config, output_attentions=output_attentions)
        encoded = self.encoder(
            self.pre_layrnorm(hidden_states),
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            plan=AttentionPlan(implementation),  # every patch sees every patch
            training=training,
        )
        pooled = self.post_layernorm(encoded.last_hidden_state[:, 0])
        return BaseModelOutputWithPooling.of(encoded, pooler_output=pooled)


class _VisionModel(CLIPPreTrainedModel):
    """A vision tower and the head applied to its outputs."""

    config: CLIPVisionConfig
    config_class = CLIPVisionConfig
    main_input_name = "pixel_values"
    main_output_name = "pooler_output"

    def setup(self) -> None:
        """Create the tower."""
        self.vision_model = CLIPVisionTransformer(self.config, name="vision_model", dtype=self.dtype_policy)

    def call(
        self,
        pixel_values: tf.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool = False,
        interpolate_pos_encoding: bool = False,
    ) -> BaseModelOutputWithPooling[tf.Tensor] | tuple[Any, ...]:
        """Encode images.

        Args:
            pixel_values: `(batch, channels, height, width)`, normalized; height and width are `image_size`. Or a
                dict, list or tuple of all inputs.
            output_attentions: return the attention weights of all layers (only with eager attention).
            output_hidden_states: return the hidden states of all layers.
            return_dict: False for a plain tuple.
            training: apply dropout, and recompute layers if gradient checkpointing is on.
            interpolate_pos_encoding: accept images of another size by interpolating the position embeddings.

        Returns:
            `last_hidden_state` `(batch, 1 + patches, hidden)` and `pooler_output` `(batch, hidden)`, the state of
            the class token after the final layer norm.

        Raises:
            ValueError: the images' shape does not fit the model.
        """
        outputs = self.vision_model(
            pixel_values,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            interpolate_pos_encoding=interpolate_pos_encoding,
            training=training,
        )
        return as_asked(self._head(outputs), self.config, return_dict)


@keras.saving.register_keras_serializable(package="clip_tf")
class CLIPVisionModel(_VisionModel):
    """The vision tower of CLIP, without projection.

    Args:
        config: a CLIPVisionConfig, or a CLIPConfig, whose vision part is used.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras model.
    """

    _no_split_modules: ClassVar[list[str] | None] = ["CLIPEncoderLayer"]


@keras.saving.register_keras_serializable(package="clip_tf")
class CLIPVisionModelWithProjection(_VisionModel):
    """The vision tower of CLIP with the projection into the joint space.

    A call takes the arguments of CLIPVisionModel and returns `image_embeds` `(batch, projection)`, not normalized, and
    `last_hidden_state` `(batch, 1 + patches, hidden)`.

    Args:
        config: a CLIPVisionConfig, or a CLIPConfig, whose vision part is used.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras model.
    """

    main_output_name = "image_embeds"

    def setup(self) -> None:
        """Create the tower and its projection."""
        super().setup()
        width, dtype = self.config.hidden_size, self.dtype_policy
        self.visual_projection = projection(width, self.config, name="visual_projection", dtype=dtype)

    def _head(self, outputs: BaseModelOutputWithPooling[tf.Tensor]) -> CLIPVisionModelOutput[tf.Tensor]:
        """Project the pooled output of the tower."""
        return CLIPVisionModelOutput.of(outputs, image_embeds=self.visual_projection(outputs.pooler_output))


@keras.saving.register_keras_serializable(package="clip_tf")
class CLIPForImageClassification(CLIPPreTrainedModel):
    """The vision tower of CLIP with a linear classifier on the mean of the patch tokens.

    Args:
        config: a CLIPConfig; `num_labels` is the number of classes; 0 omits the classifier.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras model.
    """

    config: CLIPConfig
    config_class = CLIPConfig
    main_input_name = "pixel_values"
    main_output_name = "logits"

    def setup(self) -> None:
        """Create the tower and the classifier."""
        config, dtype = self.config, self.dtype_policy
        width, self.num_labels = config.vision_config.hidden_size, config.num_labels
        self.vision_model = CLIPVisionTransformer(config.vision_config, name="vision_model", dtype=dtype)
        std = width**-0.5 * config.initializer_factor
        self.classifier = (
            linear(width, config.num_labels, std=std, name="classifier", dtype=dtype)
            if config.num_labels > 0
            else keras.layers.Identity(name="classifier", dtype=dtype)
        )
        self.vision_model.post_layernorm.trainable = False  # unused; Keras would warn at every step

    def call(
        self,
        pixel_values: tf.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool = False,
        interpolate_pos_encoding: bool = False,
        labels: tf.Tensor | None = None,
    ) -> ImageClassifierOutput[tf.Tensor] | tuple[Any, ...]:
        """Classify images. Takes the arguments of `CLIPVisionModel`, and `labels`.

        `labels` are `(batch,)` class indices for a cross-entropy loss, `(batch, num_labels)` floats for a multi-label
        loss, or regression targets. `config.problem_type` selects the loss; if it is None, the number and dtype of
        the labels do, as in transformers.

        Returns:
            `logits` `(batch, num_labels)`, and `loss` if there are labels.
        """
        output_attentions, output_hidden_states = outputs_asked(self.config, output_attentions, output_hidden_states)
        outputs = self.vision_model(
            pixel_values,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            interpolate_pos_encoding=interpolate_pos_encoding,
            training=training,
        )
        logits = self.classifier(tf.reduce_mean(outputs.last_hidden_state[:, 1:], axis=1))
        loss = None if labels is None else classification_loss(logits, labels, self.config.problem_type)
        return as_asked(ImageClassifierOutput.of(outputs, loss=loss, logits=logits), self.config, return_dict)

    def own_loss(self, outputs: ImageClassifierOutput[tf.Tensor], targets: Any) -> tf.Tensor:
        """Return the loss that `fit` minimizes if `compile` got none: the loss of `call` with these labels."""
        if outputs.loss is not None:
            return outputs.loss
        if targets is None:
            raise ValueError("labels are missing; call fit(x, y), or include labels in the inputs")
        return classification_loss(outputs.logits, targets, self.config.problem_type)
