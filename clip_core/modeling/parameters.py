"""Canonical parameter table: every parameter of a model class by name, with its shape.

Names and order are those of the PyTorch `state_dict` in transformers 4.57. Everything that reads, writes or converts a
checkpoint relies on this table.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from clip_core.configuration import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from clip_core.processing.frameworks import by_backend

if TYPE_CHECKING:
    from collections.abc import Iterator

    AnyConfig = CLIPConfig | CLIPTextConfig | CLIPVisionConfig
    NamedShape = tuple[str, tuple[int, ...]]

# The configuration class of each model class.
MODEL_CLASSES: dict[str, type[AnyConfig]] = {
    "CLIPModel": CLIPConfig,
    "CLIPTextModel": CLIPTextConfig,
    "CLIPTextModelWithProjection": CLIPTextConfig,
    "CLIPVisionModel": CLIPVisionConfig,
    "CLIPVisionModelWithProjection": CLIPVisionConfig,
    "CLIPForImageClassification": CLIPConfig,
}


def plain_class_name(name: str) -> str:
    """Return the name of a model class without the prefix of an installed backend, as in "TFCLIPModel"."""
    if name in MODEL_CLASSES:
        return name
    plain = (name.removeprefix(framework.class_prefix) for framework in by_backend().values())
    return next((one for one in plain if one in MODEL_CLASSES), name)


def parameter_table(config: AnyConfig, class_name: str) -> dict[str, tuple[int, ...]]:
    """Return the canonical name and the shape of every parameter of a model class.

    Args:
        config: the configuration that the class takes; see `MODEL_CLASSES`.
        class_name: such as "CLIPModel".

    Raises:
        ValueError: if there is no such class.
        TypeError: if the class takes another configuration.
    """
    class_name = plain_class_name(class_name)
    if class_name not in MODEL_CLASSES:
        raise ValueError(f"{class_name!r} is not a model class; choose from {', '.join(MODEL_CLASSES)}")
    wanted = MODEL_CLASSES[class_name]
    if not isinstance(config, wanted):
        raise TypeError(f"{class_name} takes a {wanted.__name__}, not a {type(config).__name__}")
    return dict(_rows(config, class_name))


def number_of_parameters(config: AnyConfig, class_name: str) -> int:
    """Return the number of scalar parameters of a model class.

    Args:
        config: as in `parameter_table`.
        class_name: as in `parameter_table`.

    Raises:
        ValueError: as in `parameter_table`.
        TypeError: as in `parameter_table`.
    """
    return sum(math.prod(shape) for shape in parameter_table(config, class_name).values())


def _rows(config: AnyConfig, class_name: str) -> Iterator[NamedShape]:
    if isinstance(config, CLIPTextConfig):
        yield from _text_model(config)
        if class_name == "CLIPTextModelWithProjection":
            yield "text_projection.weight", (config.projection_dim, config.hidden_size)
    elif isinstance(config, CLIPVisionConfig):
        yield from _vision_model(config)
        if class_name == "CLIPVisionModelWithProjection":
            yield "visual_projection.weight", (config.projection_dim, config.hidden_size)
    elif class_name == "CLIPModel":
        yield "logit_scale", ()
        yield from _text_model(config.text_config)
        yield from _vision_model(config.vision_config)
        yield "visual_projection.weight", (config.projection_dim, config.vision_config.hidden_size)
        yield "text_projection.weight", (config.projection_dim, config.text_config.hidden_size)
    else:
        yield from _vision_model(config.vision_config)
        if config.num_labels > 0:
            yield from _linear("classifier", config.vision_config.hidden_size, config.num_labels)


def _text_model(config: CLIPTextConfig) -> Iterator[NamedShape]:
    width = config.hidden_size
    yield "text_model.embeddings.token_embedding.weight", (config.vocab_size, width)
    yield "text_model.embeddings.position_embedding.weight", (config.max_position_embeddings, width)
    yield from _encoder("text_model.encoder", config)
    yield from _layer_norm("text_model.final_layer_norm", width)


def _vision_model(config: CLIPVisionConfig) -> Iterator[NamedShape]:
    width, patch_size = config.hidden_size, config.patch_size
    yield "vision_model.embeddings.class_embedding", (width,)
    yield "vision_model.embeddings.patch_embedding.weight", (width, config.num_channels, patch_size, patch_size)
    yield "vision_model.embeddings.position_embedding.weight", ((config.image_size // patch_size) ** 2 + 1, width)
    yield from _layer_norm("vision_model.pre_layrnorm", width)  # spelled this way in every checkpoint
    yield from _encoder("vision_model.encoder", config)
    yield from _layer_norm("vision_model.post_layernorm", width)


def _encoder(prefix: str, config: CLIPTextConfig | CLIPVisionConfig) -> Iterator[NamedShape]:
    width, heads = config.hidden_size, config.num_attention_heads
    for index in range(config.num_hidden_layers):
        layer = f"{prefix}.layers.{index}"
        # Pruning a head removes its rows from q, k and v, and its columns from the output projection.
        heads_left = heads - len(set(config.pruned_heads.get(index, ())))
        heads_width = width // heads * heads_left
        for projection in ("k_proj", "v_proj", "q_proj"):
            yield from _linear(f"{layer}.self_attn.{projection}", width, heads_width)
        yield from _linear(f"{layer}.self_attn.out_proj", heads_width, width)
        yield from _layer_norm(f"{layer}.layer_norm1", width)
        yield from _linear(f"{layer}.mlp.fc1", width, config.intermediate_size)
        yield from _linear(f"{layer}.mlp.fc2", config.intermediate_size, width)
        yield from _layer_norm(f"{layer}.layer_norm2", width)


def _linear(name: str, in_features: int, out_features: int) -> Iterator[NamedShape]:
    yield f"{name}.weight", (out_features, in_features)
    yield f"{name}.bias", (out_features,)


def _layer_norm(name: str, width: int) -> Iterator[NamedShape]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)
