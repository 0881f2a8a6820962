"""CLIP: the two towers, projected into one space and compared (Radford et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array

from clip_core.configuration import CLIPConfig
from clip_core.modeling.handles import FullModelHandles
from clip_core.modeling.inputs import warn_of_ignored
from clip_core.modeling.outputs import CLIPOutput, as_asked, outputs_asked
from clip_flax.initialization import projection, scalar
from clip_flax.loss import clip_loss
from clip_flax.pretrained import CLIPPreTrainedModel
from clip_flax.tensors import as_array, at_least_float32
from clip_flax.text import CLIPTextTransformer
from clip_flax.vision import CLIPVisionTransformer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flax import nnx


class CLIPModel(FullModelHandles, CLIPPreTrainedModel):
    """CLIP's two towers with their projections and the learned temperature.

    Args:
        config: a CLIPConfig.
    """

    config: CLIPConfig
    config_class = CLIPConfig
    main_input_name = "input_ids"

    def setup(self, rngs: nnx.Rngs | None) -> None:
        """Create the temperature, the towers and their projections."""
        config = self.config
        options: dict[str, Any] = {"rngs": rngs, "dtype": self.dtype}
        self.logit_scale = scalar(config.logit_scale_init_value, rngs=rngs)
        self.text_model = CLIPTextTransformer(config.text_config, **options)
        self.vision_model = CLIPVisionTransformer(config.vision_config, **options)
        self.visual_projection = projection(config.vision_config.hidden_size, config, **options)
        self.text_projection = projection(config.text_config.hidden_size, config, **options)

    def get_text_features(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        position_ids: Any = None,
        params: Mapping[str, Any] | None = None,
        dropout_rng: Array | None = None,
        train: bool = False,
        **ignored: Any,
    ) -> Array:
        """Embed texts in the joint space.

        Args:
            input_ids: `(batch, seq)` token ids.
            attention_mask: `(batch, seq)`, 1 for tokens to attend to and 0 for padding.
            position_ids: `(batch or 1, seq)`, the position of each token.
            params: parameters to use instead of the model's.
            dropout_rng: a key, for dropout in training.
            train: apply dropout.
            **ignored: other entries of a processor's output, dropped with a warning.

        Returns:
            `(batch, projection)`, not normalized.
        """
        warn_of_ignored("get_text_features", ignored)
        # A tower with a `__call__` of a user's own may read all tokens.
        if position_ids is None and type(self.text_model).__call__ is CLIPTextTransformer.__call__:
            input_ids, attention_mask = as_array(input_ids), as_array(attention_mask)
            input_ids, attention_mask = self.text_model.trimmed(input_ids, attention_mask, train=train)
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "position_ids": position_ids}
        return self._run("text_features", inputs, params=params, dropout_rng=dropout_rng, train=train)

    def get_image_features(
        self,
        pixel_values: Any,
        params: Mapping[str, Any] | None = None,
        dropout_rng: Array | None = None,
        train: bool = False,
        interpolate_pos_encoding: bool = False,
        **ignored: Any,
    ) -> Array:
        """Embed images in the joint space.

        Args:
            pixel_values: `(batch, channels, height, width)`, normalized.
            params: parameters to use instead of the model's.
            dropout_rng: a key, for dropout in training.
            train: apply dropout.
            interpolate_pos_encoding: accept images of another size by interpolating the position embeddings.
            **ignored: other entries of a processor's output, dropped with a warning.

        Returns:
            `(batch, projection)`, not normalized.
        """
        warn_of_ignored("get_image_features", ignored)
        return self._run(
            "image_features",
            {"pixel_values": pixel_values},
            params=params,
            dropout_rng=dropout_rng,
            train=train,
            interpolate_pos_encoding=interpolate_pos_encoding,
        )

    def __call__(
        self,
        input_ids: Any = None,
        pixel_values: Any = None,
        attention_mask: Any = None,
        position_ids: Any = None,
        params: Mapping[str, Any] | None = None,
        dropout_rng: Array | None = None,
        train: bool = False,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        return_loss: bool | None = None,
        interpolate_pos_encoding: bool = False,
    ) -> CLIPOutput[Array] | tuple[Any, ...]:
        """Compare every image with every text.

        Args:
            input_ids: `(texts, seq)` token ids.
            pixel_values: `(images, channels, height, width)`, normalized.
            attention_mask: `(texts, seq)`, 1 for tokens to attend to and 0 for padding.
            position_ids: `(texts or 1, seq)`, the position of each token.
            params: parameters to use instead of the model's.
            dropout_rng: a key, for dropout in training.
            train: apply dropout.
            output_attentions: return the attention weights of all layers of both towers.
            output_hidden_states: return the hidden states of all layers of both towers.
            return_dict: False for a plain tuple.
            return_loss: return the contrastive loss; each text is then paired with the image at the same index.
            interpolate_pos_encoding: accept images of another size by interpolating the position embeddings.

        Returns:
            `logits_per_image` `(images, texts)`, `logits_per_text` `(texts, images)`, the embeddings of unit norm,
            and the outputs of both towers.
        """
        compared = self._run(
            "forward",
            {
                "input_ids": input_ids,
                "pixel_values": pixel_values,
                "attention_mask": attention_mask,
                "position_ids": position_ids,
            },
            params=params,
            dropout_rng=dropout_rng,
            train=train,
            return_loss=return_loss,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            interpolate_pos_encoding=interpolate_pos_encoding,
        )
        return as_asked(compared, self.config, return_dict)

    def text_features(self, *args: Any, **kwargs: Any) -> Array:
        """Return text embeddings, uncompiled, with the model's own parameters. Takes the text tower's arguments."""
        return self.text_projection(self.text_model(*args, **kwargs).pooler_output)

    def image_features(self, *args: Any, **kwargs: Any) -> Array:
        """Return image embeddings, uncompiled, with the model's own parameters. Takes the vision tower's arguments."""
        return self.visual_projection(self.vision_model(*args, **kwargs).pooler_output)

    def forward(
        self,
        input_ids: Array | None = None,
        pixel_values: Array | None = None,
        attention_mask: Array | None = None,
        position_ids: Array | None = None,
        return_loss: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        interpolate_pos_encoding: bool = False,
        dropout_rng: Array | None = None,
    ) -> CLIPOutput[Array]:
        """Run the model uncompiled on its own parameters. Takes the arguments of `__call__` and returns the same."""
        output_attentions, output_hidden_states = outputs_asked(self.config, output_attentions, output_hidden_states)
        vision_rng, text_rng = (None, None) if dropout_rng is None else jax.random.split(dropout_rng)
        options = {"output_attentions": output_attentions, "output_hidden_states": output_hidden_states}
        vision_outputs = self.vision_model(
            pixel_values=pixel_values,
            interpolate_pos_encoding=interpolate_pos_encoding,
            dropout_rng=vision_rng,
            **options,
        )
        text_outputs = self.text_model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            dropout_rng=text_rng,
            **options,
        )
        # In the parameters' dtype: float32 parameters are compared in float32, whatever the dtype of the towers.
        logit_scale = self.logit_scale.get_value()
        image_embeds = unit_norm(self.visual_projection(vision_outputs.pooler_output)).astype(logit_scale.dtype)
        text_embeds = unit_norm(self.text_projection(text_outputs.pooler_output)).astype(logit_scale.dtype)
        logits_per_text = jnp.matmul(text_embeds, image_embeds.T, precision=None) * jnp.exp(logit_scale)
        return CLIPOutput(
            loss=clip_loss(logits_per_text) if return_loss else None,
            logits_per_image=logits_per_text.T,
            logits_per_text=logits_per_text,
            text_embeds=text_embeds,
            image_embeds=image_embeds,
            text_model_output=text_outputs,
            vision_model_output=vision_outputs,
        )


def unit_norm(embeds: Array) -> Array:
    """Divide rows `(batch, projection)` by their Euclidean norm, in float32 at least."""
    embeds = at_least_float32(embeds)
    return embeds / jnp.sqrt(jnp.square(embeds).sum(axis=-1, keepdims=True))
