"""The vision tower: a ViT over patches, pooled at the class token (Dosovitskiy et al. 2021, with CLIP's pre-norm)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

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
from clip_flax.initialization import (
    CLIPEmbeddings,
    CLIPModule,
    embedding,
    layer_norm,
    linear,
    normal_vector,
    patch_convolution,
    projection,
)
from clip_flax.layers import CLIPEncoder
from clip_flax.loss import classification_loss
from clip_flax.plan import AttentionPlan, choose_implementation
from clip_flax.pretrained import CLIPPreTrainedModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike


class CLIPVisionEmbeddings(VisionEmbeddingsHandles, CLIPEmbeddings):
    """A class token and patch embeddings, plus learned position embeddings."""

    def __init__(self, config: CLIPVisionConfig, *, rngs: nnx.Rngs | None, dtype: DTypeLike) -> None:
        super().__init__(config)
        width, factor = self.embed_dim, config.initializer_factor
        self.image_size, self.patch_size = config.image_size, config.patch_size
        self.num_channels = config.num_channels
        self.num_patches = (config.image_size // config.patch_size) ** 2
        self.dtype = dtype
        std = config.initializer_range * factor
        self.class_embedding = normal_vector(width, std=width**-0.5 * factor, rngs=rngs)
        self.patch_embedding = patch_convolution(
            config.num_channels, width, config.patch_size, std=std, rngs=rngs, dtype=dtype
        )
        self.position_embedding = embedding(self.num_patches + 1, width, std=std, rngs=rngs, dtype=dtype)

    def __call__(self, pixel_values: Array, interpolate_pos_encoding: bool = False) -> Array:
        """Embed images `(batch, channels, height, width)`: `(batch, 1 + patches, hidden)`."""
        shape = pixel_values.shape
        check_pixel_shape(shape, self, interpolate=interpolate_pos_encoding)
        batch, _, height, width = shape
        pixel_values = pixel_values.astype(self.dtype).transpose(0, 2, 3, 1)  # channels last
        patches = self.patch_embedding(pixel_values)  # (batch, rows, cols, hidden)
        patches = patches.reshape(batch, math.prod(patches.shape[1:3]), self.embed_dim)  # (batch, patches, hidden)
        class_token = jnp.broadcast_to(self.class_embedding.get_value(), (batch, 1, self.embed_dim))
        embeddings = jnp.concatenate([class_token.astype(patches.dtype), patches], axis=1)
        if interpolate_pos_encoding and (height, width) != (self.image_size, self.image_size):
            return embeddings + self.interpolated_positions(height, width)
        return embeddings + self.position_embedding(self.position_ids)

    def interpolated_positions(self, height: int, width: int) -> Array:
        """Interpolate the position embeddings to another image size, bicubically: `(1, 1 + patches, hidden)`.

        After DINO (facebookresearch/dino, vision_transformer.py), as in transformers: the grid is resized to the
        number of whole patches, with half-pixel centres, and the class token's embedding is kept.
        """
        (table,) = self.position_embedding(self.position_ids)
        side = math.isqrt(self.num_patches)
        grid = table[1:].reshape(side, side, -1)  # (side, side, hidden)
        down, across = (
            jnp.asarray(bicubic_matrix(side, size // self.patch_size), table.dtype) for size in (height, width)
        )
        grid = jnp.einsum("hs,wt,std->hwd", down, across, grid, precision=jax.lax.Precision.HIGHEST)
        return jnp.concatenate([table[:1], grid.reshape(-1, table.shape[-1])], axis=0)[None]


class CLIPVisionTransformer(TowerHandles, CLIPModule):
    """The vision tower without a head."""

    def __init__(self, config: CLIPVisionConfig, *, rngs: nnx.Rngs | None, dtype: DTypeLike) -> None:
        super().__init__(config)
        width, epsilon = config.hidden_size, config.layer_norm_eps
        self.embeddings = CLIPVisionEmbeddings(config, rngs=rngs, dtype=dtype)
        self.pre_layrnorm = layer_norm(width, epsilon=epsilon, rngs=rngs, dtype=dtype)  # spelled as in transformers
        self.encoder = CLIPEncoder(config, rngs=rngs, dtype=dtype)
        self.post_layernorm = layer_norm(width, epsilon=epsilon, rngs=rngs, dtype=dtype)

    def __call__(
        self,
        pixel_values: Array | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        interpolate_pos_encoding: bool = False,
        dropout_rng: Array | None = None,
    ) -> BaseModelOutputWithPooling[Array]:
        """Run the tower. Takes the arguments of `CLIPVisionModel`."""
        pixel_values = required("pixel_values", pixel_values)
        config = self.config
        output_attentions, output_hidden_states = outputs_asked(config, output_attentions, output_hidden_states)

        hidden_states = self.embeddings(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding)
        implementation = choose_implementation(config, output_attentions=output_attentions)
        encoded: Any = self.encoder(
            self.pre_layrnorm(hidden_states),
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            plan=AttentionPlan(implementation),  # every patch sees every patch
            dropout_rng=dropout_rng,
        )
        pooled = self.post_layernorm(encoded.last_hidden_state[:, 0])
        return BaseModelOutputWithPooling.of(encoded, pooler_output=pooled)


class _VisionModel(CLIPPreTrainedModel):
    """A vision tower and the head applied to its outputs."""

    config: CLIPVisionConfig
    config_class = CLIPVisionConfig
    main_input_name = "pixel_values"

    def setup(self, rngs: nnx.Rngs | None) -> None:
        """Create the tower."""
        self.vision_model = CLIPVisionTransformer(self.config, rngs=rngs, dtype=self.dtype)

    def __call__(
        self,
        pixel_values: Any = None,
        params: Mapping[str, Any] | None = None,
        dropout_rng: Array | None = None,
        train: bool = False,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        interpolate_pos_encoding: bool = False,
    ) -> BaseModelOutputWithPooling[Array] | tuple[Any, ...]:
        """Encode images.

        Args:
            pixel_values: `(batch, channels, height, width)`, normalized; height and width are `image_size`.
            params: parameters to use instead of the model's.
            dropout_rng: a key, for dropout in training.
            train: apply dropout.
            output_attentions: return the attention weights of all layers (only with eager attention).
            output_hidden_states: return the hidden states of all layers.
            return_dict: False for a plain tuple.
            interpolate_pos_encoding: accept images of another size by interpolating the position embeddings.

        Returns:
            `last_hidden_state` `(batch, 1 + patches, hidden)` and `pooler_output` `(batch, hidden)`, the state of
            the class token after the final layer norm.

        Raises:
            ValueError: the images' shape does not fit the model, or `params` does not.
        """
        outputs = self._run(
            "forward",
            {"pixel_values": pixel_values},
            params=params,
            dropout_rng=dropout_rng,
            train=train,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            interpolate_pos_encoding=interpolate_pos_encoding,
        )
        return as_asked(outputs, self.config, return_dict)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the outputs of an uncompiled run on the model's own parameters. Takes the arguments of the tower."""
        return self._head(self.vision_model(*args, **kwargs))


class CLIPVisionModel(_VisionModel):
    """The vision tower of CLIP, without projection.

    Args:
        config: a CLIPVisionConfig, or a CLIPConfig, whose vision part is used.
    """

    _no_split_modules: ClassVar[list[str] | None] = ["CLIPEncoderLayer"]


class CLIPVisionModelWithProjection(_VisionModel):
    """The vision tower of CLIP with the projection into the joint space.

    A call takes the arguments of CLIPVisionModel and returns `image_embeds` `(batch, projection)`, not normalized, and
    `last_hidden_state` `(batch, 1 + patches, hidden)`.

    Args:
        config: a CLIPVisionConfig, or a CLIPConfig, whose vision part is used.
    """

    def setup(self, rngs: nnx.Rngs | None) -> None:
        """Create the tower and its projection."""
        super().setup(rngs)
        self.visual_projection = projection(self.config.hidden_size, self.config, rngs=rngs, dtype=self.dtype)

    def _head(self, outputs: BaseModelOutputWithPooling[Array]) -> CLIPVisionModelOutput[Array]:
        """Project the pooled output of the tower."""
        return CLIPVisionModelOutput.of(outputs, image_embeds=self.visual_projection(outputs.pooler_output))


class CLIPForImageClassification(CLIPPreTrainedModel):
    """The vision tower of CLIP with a linear classifier on the mean of the patch tokens.

    Args:
        config: a CLIPConfig; `num_labels` is the number of classes; 0 omits the classifier.
    """

    config: CLIPConfig
    config_class = CLIPConfig
    main_input_name = "pixel_values"

    def setup(self, rngs: nnx.Rngs | None) -> None:
        """Create the tower and the classifier."""
        config = self.config
        width, self.num_labels = config.vision_config.hidden_size, config.num_labels
        self.vision_model = CLIPVisionTransformer(config.vision_config, rngs=rngs, dtype=self.dtype)
        std = width**-0.5 * config.initializer_factor
        self.classifier = (
            linear(width, config.num_labels, std=std, rngs=rngs, dtype=self.dtype)
            if config.num_labels > 0
            else nnx.identity
        )

    def __call__(
        self,
        pixel_values: Any = None,
        params: Mapping[str, Any] | None = None,
        dropout_rng: Array | None = None,
        train: bool = False,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        interpolate_pos_encoding: bool = False,
        labels: Any = None,
    ) -> ImageClassifierOutput[Array] | tuple[Any, ...]:
        """Classify images. Takes the arguments of `CLIPVisionModel`, and `labels`.

        `labels` are `(batch,)` class indices for a cross-entropy loss, `(batch, num_labels)` floats for a multi-label
        loss, or regression targets. `config.problem_type` selects the loss; if it is None, the number and dtype of
        the labels do, as in transformers.

        Returns:
            `logits` `(batch, num_labels)`, and `loss` if there are labels.
        """
        outputs = self._run(
            "forward",
            {"pixel_values": pixel_values, "labels": labels},
            params=params,
            dropout_rng=dropout_rng,
            train=train,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            interpolate_pos_encoding=interpolate_pos_encoding,
        )
        return as_asked(outputs, self.config, return_dict)

    def forward(
        self,
        pixel_values: Array | None = None,
        labels: Array | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        interpolate_pos_encoding: bool = False,
        dropout_rng: Array | None = None,
    ) -> ImageClassifierOutput[Array]:
        """Run the model uncompiled, on its own parameters. Takes the arguments of `__call__` and returns the same."""
        output_attentions, output_hidden_states = outputs_asked(self.config, output_attentions, output_hidden_states)
        outputs: Any = self.vision_model(
            pixel_values, output_attentions, output_hidden_states, interpolate_pos_encoding, dropout_rng
        )
        logits = self.classifier(outputs.last_hidden_state[:, 1:].mean(axis=1))
        loss = None if labels is None else classification_loss(logits, labels, self.config.problem_type)
        return ImageClassifierOutput.of(outputs, loss=loss, logits=logits)
