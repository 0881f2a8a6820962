"""CLIP: the two towers, projected into one space and compared (Radford et al. 2021)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from clip_core.configuration import CLIPConfig
from clip_core.modeling.handles import FullModelHandles
from clip_core.modeling.inputs import warn_of_ignored
from clip_core.modeling.outputs import CLIPOutput, as_asked, outputs_asked
from clip_torch.derived import call_text, call_vision, pooled_output
from clip_torch.initialization import projection
from clip_torch.loss import clip_loss
from clip_torch.pretrained import CLIPPreTrainedModel
from clip_torch.text import CLIPTextTransformer
from clip_torch.vision import CLIPVisionTransformer


class CLIPModel(FullModelHandles, CLIPPreTrainedModel):
    """CLIP's two towers with their projections and the learned temperature.

    Args:
        config: a CLIPConfig.
    """

    config: CLIPConfig
    config_class = CLIPConfig
    main_input_name = "input_ids"

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__(config)
        config = self.config
        self.logit_scale = nn.Parameter(torch.tensor(config.logit_scale_init_value))
        self.text_model = CLIPTextTransformer(config.text_config)
        self.vision_model = CLIPVisionTransformer(config.vision_config)
        self.visual_projection = projection(config.vision_config.hidden_size, config)
        self.text_projection = projection(config.text_config.hidden_size, config)
        self.post_init()

    def get_text_features(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        **ignored: Any,
    ) -> Tensor:
        """Embed texts in the joint space.

        Args:
            input_ids: `(batch, seq)` token ids.
            attention_mask: `(batch, seq)`, 1 for tokens to attend to and 0 for padding.
            position_ids: `(batch or 1, seq)`, the position of each token.
            **ignored: other entries of a processor's output, dropped with a warning as in transformers.

        Returns:
            `(batch, projection)`, not normalized.
        """
        warn_of_ignored("get_text_features", ignored)
        pooled = pooled_output(self.text_model, input_ids, attention_mask, position_ids)
        return cast("Tensor", self.text_projection(pooled))

    def get_image_features(
        self, pixel_values: Tensor, interpolate_pos_encoding: bool = False, **ignored: Any
    ) -> Tensor:
        """Embed images in the joint space.

        Args:
            pixel_values: `(batch, channels, height, width)`, normalized.
            interpolate_pos_encoding: accept images of another size by interpolating the position embeddings.
            **ignored: other entries of a processor's output, dropped with a warning as in transformers.

        Returns:
            `(batch, projection)`, not normalized.
        """
        warn_of_ignored("get_image_features", ignored)
        outputs = self.vision_model(pixel_values=pixel_values, interpolate_pos_encoding=interpolate_pos_encoding)
        return cast("Tensor", self.visual_projection(outputs.pooler_output))

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        return_loss: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        interpolate_pos_encoding: bool = False,
        return_dict: bool | None = None,
    ) -> CLIPOutput[Tensor] | tuple[Any, ...]:
        """Compare every image with every text.

        Args:
            input_ids: `(texts, seq)` token ids.
            pixel_values: `(images, channels, height, width)`, normalized.
            attention_mask: `(texts, seq)`, 1 for tokens to attend to and 0 for padding.
            position_ids: `(texts or 1, seq)`, the position of each token.
            return_loss: return the contrastive loss; each text is then paired with the image at the same index.
            output_attentions: return the attention weights of all layers of both towers.
            output_hidden_states: return the hidden states of all layers of both towers.
            interpolate_pos_encoding: accept images of another size by interpolating the position embeddings.
            return_dict: False for a plain tuple.

        Returns:
            `logits_per_image` `(images, texts)`, `logits_per_text` `(texts, images)`, the embeddings of unit norm,
            and the outputs of both towers.
        """
        requested = outputs_asked(self.config, output_attentions, output_hidden_states)
        vision_outputs = call_vision(self.vision_model, pixel_values, *requested, interpolate_pos_encoding)
        text_outputs = call_text(self.text_model, input_ids, attention_mask, position_ids, *requested)
        image_embeds = unit_norm(self.visual_projection(vision_outputs.pooler_output))
        text_embeds = unit_norm(self.text_projection(text_outputs.pooler_output))
        logits_per_text = text_embeds @ image_embeds.t() * self.logit_scale.exp()
        compared = CLIPOutput(
            loss=clip_loss(logits_per_text) if return_loss else None,
            logits_per_image=logits_per_text.t(),
            logits_per_text=logits_per_text,
            text_embeds=text_embeds,
            image_embeds=image_embeds,
            text_model_output=text_outputs,
            vision_model_output=vision_outputs,
        )
        return as_asked(compared, self.config, return_dict)


def unit_norm(embeds: Tensor) -> Tensor:
    """Divide rows `(batch, projection)` by their Euclidean norm, in their own dtype as in transformers."""
    return embeds / embeds.pow(2).sum(dim=-1, keepdim=True).sqrt()
