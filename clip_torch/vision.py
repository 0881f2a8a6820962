"""The vision tower: a ViT over patches, pooled at the class token (Dosovitskiy et al. 2021, with CLIP's pre-norm)."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clip_core.configuration import CLIPConfig, CLIPVisionConfig
from clip_core.modeling.inputs import check_pixel_shape, required
from clip_core.modeling.outputs import (
    BaseModelOutputWithPooling,
    CLIPVisionModelOutput,
    ImageClassifierOutput,
    as_asked,
    outputs_asked,
)
from clip_core.modeling.towers import TowerHandles, VisionEmbeddingsHandles
from clip_torch.derived import call_vision, encoder_options
from clip_torch.initialization import add_positions, embedding, linear, normal_vector, patch_convolution, projection
from clip_torch.layers import CLIPEncoder
from clip_torch.loss import classification_loss
from clip_torch.plan import AttentionPlan, choose_implementation
from clip_torch.pretrained import CLIPPreTrainedModel


class CLIPVisionEmbeddings(VisionEmbeddingsHandles, nn.Module):
    """A class token and patch embeddings, plus learned position embeddings."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_dim = width = config.hidden_size
        factor = config.initializer_factor
        self.image_size, self.patch_size = config.image_size, config.patch_size
        self.num_channels = config.num_channels
        self.num_patches = (config.image_size // config.patch_size) ** 2
        self.num_positions = self.num_patches + 1
        std = config.initializer_range * factor
        self.class_embedding = normal_vector(width, std=width**-0.5 * factor)
        self.patch_embedding = patch_convolution(config.num_channels, width, config.patch_size, std=std)
        self.position_embedding = embedding(self.num_positions, width, std=std)
        add_positions(self, self.position_embedding)

    def forward(self, pixel_values: Tensor, interpolate_pos_encoding: bool = False) -> Tensor:
        """Embed images `(batch, channels, height, width)`: `(batch, 1 + patches, hidden)`."""
        shape = pixel_values.shape
        check_pixel_shape(shape, self, interpolate=interpolate_pos_encoding)
        batch, _, height, width = shape
        patches = self.patch_embedding(pixel_values.to(self.class_embedding.dtype))  # (batch, hidden, rows, cols)
        patches = patches.flatten(2).transpose(1, 2)  # (batch, patches, hidden)
        class_token = self.class_embedding.expand(batch, 1, -1)  # (batch, 1, hidden)
        embeddings = torch.cat([class_token, patches], dim=1)
        if interpolate_pos_encoding and (height, width) != (self.image_size, self.image_size):
            return embeddings + self.interpolated_positions(height, width)
        # Not the buffer, which has no values after `to_empty` or a meta device with `load_state_dict(assign=True)`.
        positions = torch.arange(self.num_positions, device=embeddings.device)[None]
        embedded: Tensor = embeddings + self.position_embedding(positions)
        return embedded

    def interpolated_positions(self, height: int, width: int) -> Tensor:
        """Interpolate the position embeddings to another image size, bicubically: `(1, 1 + patches, hidden)`.

        After DINO (facebookresearch/dino, vision_transformer.py), as in transformers: the grid is resized to the
        number of whole patches, with half-pixel centres, and the class token's embedding is kept.
        """
        table = self.position_embedding.weight
        side = math.isqrt(self.num_patches)
        grid = table[1:].unflatten(0, (side, side)).permute(2, 0, 1)[None]  # (1, hidden, side, side)
        size = (height // self.patch_size, width // self.patch_size)
        grid = F.interpolate(grid, size=size, mode="bicubic", align_corners=False)
        return torch.cat([table[None, :1], grid.flatten(2).transpose(1, 2)], dim=1)


class CLIPVisionTransformer(TowerHandles, nn.Module):
    """The vision tower without a head."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = CLIPVisionEmbeddings(config)
        self.pre_layrnorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)  # spelled as in transformers
        self.encoder = CLIPEncoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(
        self,
        pixel_values: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        interpolate_pos_encoding: bool = False,
    ) -> BaseModelOutputWithPooling[Tensor]:
        """Run the tower. Takes the arguments of `CLIPVisionModel`."""
        pixel_values = required("pixel_values", pixel_values)
        config = self.config
        output_attentions, output_hidden_states = outputs_asked(config, output_attentions, output_hidden_states)

        hidden_states = self.embeddings(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding)
        implementation = choose_implementation(config, output_attentions=output_attentions)
        encoded = self.encoder(
            inputs_embeds=self.pre_layrnorm(hidden_states),
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            **encoder_options(self.encoder, AttentionPlan(implementation)),  # every patch sees every patch
        )
        pooled = self.post_layernorm(encoded.last_hidden_state[:, 0])
        return BaseModelOutputWithPooling.of(encoded, pooler_output=pooled)


class _VisionModel(CLIPPreTrainedModel):
    """A vision tower and the head applied to its outputs."""

    config: CLIPVisionConfig
    config_class = CLIPVisionConfig
    main_input_name = "pixel_values"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.vision_model = CLIPVisionTransformer(self.config)
        self.post_init()

    def forward(
        self,
        pixel_values: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        interpolate_pos_encoding: bool = False,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPooling[Tensor] | tuple[Any, ...]:
        """Encode images.

        Args:
            pixel_values: `(batch, channels, height, width)`, normalized; height and width are `image_size`.
            output_attentions: return the attention weights of all layers (only with eager attention).
            output_hidden_states: return the hidden states of all layers.
            interpolate_pos_encoding: accept images of another size by interpolating the position embeddings.
            return_dict: False for a plain tuple.

        Returns:
            `last_hidden_state` `(batch, 1 + patches, hidden)` and `pooler_output` `(batch, hidden)`, the state of
            the class token after the final layer norm.

        Raises:
            ValueError: the images' shape does not fit the model.
        """
        requested = output_attentions, output_hidden_states
        outputs = call_vision(self.vision_model, pixel_values, *requested, interpolate_pos_encoding)
        return as_asked(self._head(outputs), self.config, return_dict)


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

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.visual_projection = projection(self.config.hidden_size, self.config)
        self.post_init()

    def _head(self, outputs: BaseModelOutputWithPooling[Tensor]) -> CLIPVisionModelOutput[Tensor]:
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

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__(config)
        config = self.config
        width = config.vision_config.hidden_size
        self.num_labels = config.num_labels
        self.vision_model = CLIPVisionTransformer(config.vision_config)
        self.classifier = (
            linear(width, config.num_labels, std=width**-0.5 * config.initializer_factor)
            if config.num_labels > 0
            else nn.Identity()
        )
        self.post_init()

    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        interpolate_pos_encoding: bool = False,
    ) -> ImageClassifierOutput[Tensor] | tuple[Any, ...]:
        """Classify images. Takes the arguments of `CLIPVisionModel`, and `labels`.

        `labels` are `(batch,)` class indices for a cross-entropy loss, `(batch, num_labels)` floats for a multi-label
        loss, or regression targets. `config.problem_type` selects the loss; if it is None, the number and dtype of
        the labels do, as in transformers.

        Returns:
            `logits` `(batch, num_labels)`, and `loss` if there are labels.
        """
        requested = outputs_asked(self.config, output_attentions, output_hidden_states)
        outputs = call_vision(self.vision_model, pixel_values, *requested, interpolate_pos_encoding)
        logits = self.classifier(outputs.last_hidden_state[:, 1:].mean(dim=1))
        loss = None if labels is None else classification_loss(logits, labels, self.config.problem_type)
        return as_asked(ImageClassifierOutput.of(outputs, loss=loss, logits=logits), self.config, return_dict)
