"""CLIP configurations: for the text tower, the vision tower, and both together.

Argument names, order and defaults match transformers 4.57, and so does the file format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from clip_core.configuration.checks import (
    ACTIVATIONS,
    MOST_LAYERS,
    check_choice,
    check_divides,
    check_float,
    check_int,
    check_pruned_heads,
)
from clip_core.configuration.files import BaseConfig, merged_tower, own_part

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ACTIVATIONS", "CLIPConfig", "CLIPTextConfig", "CLIPVisionConfig"]

_LEGACY_EOS_TOKEN_ID = 2


class _TowerConfig(BaseConfig):
    """Fields shared by both towers."""

    hidden_size: int
    intermediate_size: int
    projection_dim: int
    num_hidden_layers: int
    num_attention_heads: int
    hidden_act: str
    layer_norm_eps: float
    attention_dropout: float
    initializer_range: float
    initializer_factor: float

    def validate(self) -> None:
        """Check every field; see `ConfigFields.validate`."""
        super().validate()
        check_int(self, "hidden_size", "intermediate_size", "projection_dim", "num_attention_heads")
        check_int(self, "num_hidden_layers", maximum=MOST_LAYERS)
        check_divides(self, "num_attention_heads", "hidden_size")
        check_choice(self, "hidden_act", ACTIVATIONS)
        check_float(self, "layer_norm_eps", minimum=0, open_below=True)
        check_float(self, "attention_dropout", minimum=0, below=1)
        check_float(self, "initializer_range", "initializer_factor", minimum=0)
        check_pruned_heads(self)


class CLIPTextConfig(_TowerConfig):
    """The configuration of a text tower; the defaults are those of openai/clip-vit-base-patch32.

    Args:
        vocab_size: number of tokens.
        hidden_size: width of the hidden states.
        intermediate_size: width inside the MLP.
        projection_dim: width of the joint space, for a tower with its own projection.
        num_hidden_layers: number of layers.
        num_attention_heads: number of attention heads; must divide `hidden_size`.
        max_position_embeddings: maximum text length in tokens.
        hidden_act: activation in the MLP, one of `ACTIVATIONS`.
        layer_norm_eps: epsilon of the layer norms.
        attention_dropout: dropout probability of attention weights in training.
        initializer_range: standard deviation of initial weights not covered by another rule.
        initializer_factor: factor on all standard deviations of initial weights.
        pad_token_id: the padding token. The default differs from the tokenizer's; the model does not use it.
        bos_token_id: the token that starts a text. The model does not use it.
        eos_token_id: the token whose first occurrence is pooled. The value 2, from files older than 2023, pools at the
            largest id.
        missing_eos: pooling of a row without EOS: "first" pools its first token, as transformers does; "error" raises.
        **kwargs: the fields of `ConfigFields`; others are kept.

    Raises:
        ValueError: if a field is invalid; the message names it, its value and the valid values.

    Example:
        >>> CLIPTextConfig(hidden_size=640, num_attention_heads=10).num_hidden_layers
        12
    """

    model_type = "clip_text_model"
    base_config_key = "text_config"
    eos_token_id: int

    def __init__(
        self,
        vocab_size: int = 49408,
        hidden_size: int = 512,
        intermediate_size: int = 2048,
        projection_dim: int = 512,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 8,
        max_position_embeddings: int = 77,
        hidden_act: str = "quick_gelu",
        layer_norm_eps: float = 1e-5,
        attention_dropout: float = 0.0,
        initializer_range: float = 0.02,
        initializer_factor: float = 1.0,
        pad_token_id: int | None = 1,
        bos_token_id: int | None = 49406,
        eos_token_id: int = 49407,
        *,
        missing_eos: str = "first",
        **kwargs: Any,
    ) -> None:
        super().__init__(pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id, **kwargs)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.projection_dim = projection_dim
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.max_position_embeddings = max_position_embeddings
        self.hidden_act = hidden_act
        self.layer_norm_eps = layer_norm_eps
        self.attention_dropout = attention_dropout
        self.initializer_range = initializer_range
        self.initializer_factor = initializer_factor
        self.missing_eos = missing_eos
        self.validate()

    def validate(self) -> None:
        """Check every field; see `ConfigFields.validate`."""
        super().validate()
        check_int(self, "vocab_size", "max_position_embeddings")
        check_int(self, "eos_token_id", minimum=0)
        check_int(self, "pad_token_id", "bos_token_id", minimum=-1, optional=True)
        check_choice(self, "missing_eos", ("first", "error"))

    @property
    def pools_at_largest_id(self) -> bool:
        """True if each text is pooled at its largest id, which is EOS unless tokens were added after it.

        Configurations written before transformers 4.31 request this with an `eos_token_id` of 2, although the
        tokenizer's id was always 49407 (transformers issue 24773).
        """
        return self.eos_token_id == _LEGACY_EOS_TOKEN_ID


class CLIPVisionConfig(_TowerConfig):
    """The configuration of a vision tower; the defaults are those of openai/clip-vit-base-patch32.

    Args:
        hidden_size: width of the hidden states.
        intermediate_size: width inside the MLP.
        projection_dim: width of the joint space, for a tower with its own projection.
        num_hidden_layers: number of layers.
        num_attention_heads: number of attention heads; must divide `hidden_size`.
        num_channels: number of colour channels.
        image_size: height and width of an image, in pixels.
        patch_size: height and width of a patch, in pixels; must divide `image_size`.
        hidden_act: activation in the MLP, one of `ACTIVATIONS`.
        layer_norm_eps: epsilon of the layer norms.
        attention_dropout: dropout probability of attention weights in training.
        initializer_range: standard deviation of initial weights not covered by another rule.
        initializer_factor: factor on all standard deviations of initial weights.
        **kwargs: the fields of `ConfigFields`; others are kept.

    Raises:
        ValueError: if a field is invalid; the message names it, its value and the valid values.

    Example:
        >>> CLIPVisionConfig(image_size=336, patch_size=14).hidden_size
        768
    """

    model_type = "clip_vision_model"
    base_config_key = "vision_config"

    def __init__(
        self,
        hidden_size: int = 768,
        intermediate_size: int = 3072,
        projection_dim: int = 512,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        num_channels: int = 3,
        image_size: int = 224,
        patch_size: int = 32,
        hidden_act: str = "quick_gelu",
        layer_norm_eps: float = 1e-5,
        attention_dropout: float = 0.0,
        initializer_range: float = 0.02,
        initializer_factor: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.projection_dim = projection_dim
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_channels = num_channels
        self.image_size = image_size
        self.patch_size = patch_size
        self.hidden_act = hidden_act
        self.layer_norm_eps = layer_norm_eps
        self.attention_dropout = attention_dropout
        self.initializer_range = initializer_range
        self.initializer_factor = initializer_factor
        self.validate()

    def validate(self) -> None:
        """Check every field; see `ConfigFields.validate`."""
        super().validate()
        check_int(self, "num_channels", "image_size", "patch_size")
        check_divides(self, "patch_size", "image_size")


class CLIPConfig(BaseConfig):
    """The configuration of a text tower and a vision tower with a joint space.

    Args:
        text_config: the text tower's configuration, or a dict of its fields; copied.
        vision_config: the vision tower's configuration, or a dict of its fields; copied.
        projection_dim: width of the joint space. In a model of both towers it takes precedence over the towers' own.
        logit_scale_init_value: initial logarithm of the inverse temperature.
        text_config_dict: from old files; overrides `text_config`, even with the defaults of omitted fields.
        vision_config_dict: from old files; overrides `vision_config` in the same way.
        **kwargs: the fields of `ConfigFields`; others are kept.

    Raises:
        ValueError: if a field is invalid; the message names it, its value and the valid values.

    Example:
        >>> config = CLIPConfig(vision_config={"patch_size": 16}, projection_dim=256)
        >>> config.vision_config.patch_size, config.text_config.hidden_size
        (16, 512)
    """

    model_type = "clip"
    sub_configs: ClassVar = {"text_config": CLIPTextConfig, "vision_config": CLIPVisionConfig}

    def __init__(
        self,
        text_config: Mapping[str, Any] | CLIPTextConfig | None = None,
        vision_config: Mapping[str, Any] | CLIPVisionConfig | None = None,
        projection_dim: int = 512,
        logit_scale_init_value: float = 2.6592,
        *,
        text_config_dict: Mapping[str, Any] | None = None,
        vision_config_dict: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        attn_implementation = kwargs.pop("attn_implementation", None)
        super().__init__(**kwargs)
        self.text_config = CLIPTextConfig(**merged_tower(CLIPTextConfig, text_config, text_config_dict))
        self.vision_config = CLIPVisionConfig(**merged_tower(CLIPVisionConfig, vision_config, vision_config_dict))
        self.projection_dim = projection_dim
        self.logit_scale_init_value = logit_scale_init_value
        self.initializer_factor = 1.0  # regardless of the file, as in transformers
        if attn_implementation is not None:
            self.attn_implementation = attn_implementation
        if self.gradient_checkpointing:
            self.text_config.gradient_checkpointing = self.vision_config.gradient_checkpointing = True
        self.validate()

    @classmethod
    def from_text_vision_configs(
        cls, text_config: CLIPTextConfig, vision_config: CLIPVisionConfig, **kwargs: Any
    ) -> Self:
        """Return a configuration built from copies of both towers' configurations.

        Args:
            text_config: the text tower's configuration.
            vision_config: the vision tower's configuration.
            **kwargs: as in the class.
        """
        return cls(text_config, vision_config, **kwargs)

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """Build a configuration from the content of a config.json.

        If `projection_dim` is missing at the top level but both towers state the same value, that value is used.

        Args:
            config_dict: the file's content.
            **kwargs: as in `from_pretrained`.
        """
        config_dict = own_part(cls, config_dict)
        if config_dict.get("projection_dim") is None:
            text, vision = (
                merged_tower(tower, config_dict.get(key), config_dict.get(f"{key}_dict")).get("projection_dim")
                for key, tower in cls.sub_configs.items()
            )
            if text is not None and text == vision:
                config_dict["projection_dim"] = text
        return super().from_dict(config_dict, **kwargs)

    def validate(self) -> None:
        """Check every field, including the towers'; see `ConfigFields.validate`."""
        super().validate()
        check_int(self, "projection_dim")
        check_float(self, "logit_scale_init_value")
        check_float(self, "initializer_factor", minimum=0)
        self.text_config.validate()
        self.vision_config.validate()
