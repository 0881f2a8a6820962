"""The configuration that OpenAI's code derives from the shapes of the weights, and its restrictions.

OpenAI's files contain no configuration, and neither do single weight files, such as a text encoder's. OpenAI's code
derives every setting from shapes except those that all its models share: `quick_gelu`, heads of width 64, an epsilon of
1e-5, an MLP of four times the width, and pooling at the largest id.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from clip_core.configuration import CLIPConfig
from converters.sidecars.companions import Companions, Description, whole_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig
    from clip_core.images.processor import CLIPImageProcessor
    from converters.tensors import TensorEntry

HEAD_WIDTH = 64
LAYER_NORM_EPS = 1e-5
MLP_RATIO = 4

# The tokenizer of OpenAI's CLIP: its size, and the ids of BOS and EOS. EOS is the largest id.
VOCAB_SIZE, BOS_TOKEN_ID, EOS_TOKEN_ID = 49408, 49406, 49407
PAD_TOKEN_ID = 0

# The legacy `eos_token_id` of a model that pools at the largest id, whichever token that is.
LARGEST_ID = 2

# For each tower, the tensors whose shapes determine its configuration, with their numbers of axes.
_NEEDED = {
    "text_model": {
        "text_model.embeddings.token_embedding.weight": 2,
        "text_model.embeddings.position_embedding.weight": 2,
        "text_model.encoder.layers.0.mlp.fc1.weight": 2,
    },
    "vision_model": {
        "vision_model.embeddings.patch_embedding.weight": 4,
        "vision_model.embeddings.position_embedding.weight": 2,
        "vision_model.encoder.layers.0.mlp.fc1.weight": 2,
    },
}
_PROJECTIONS = ("visual_projection.weight", "text_projection.weight")


class Shapes(Protocol):
    """The part of a `Checkpoint` that determines the configuration: the names and shapes of its tensors."""

    source: str

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        ...

    def __iter__(self) -> Iterator[str]:
        """Iterate over the canonical names."""
        ...

    def __contains__(self, name: object) -> bool:
        """Return True if there is a tensor of this name."""
        ...


def config_from_shapes(checkpoint: Shapes) -> CLIPConfig:
    """Return the configuration that OpenAI's code would give these weights.

    A tower that the checkpoint lacks gets the default configuration.

    Raises:
        ValueError: a tensor is missing, or has an unsupported shape.
    """
    towers = [tower for tower in _NEEDED if any(name.startswith(f"{tower}.") for name in checkpoint)] or [*_NEEDED]
    needed = {name: axes for tower in towers for name, axes in _NEEDED[tower].items()}
    if len(towers) == len(_NEEDED):
        needed[_PROJECTIONS[0]] = 2
    missing = [name for name in needed if name not in checkpoint]
    if missing:
        raise ValueError(
            f"{checkpoint.source} lacks {', '.join(missing)}, and there is no config.json to describe the model"
        )
    needed |= dict.fromkeys(_PROJECTIONS, 2)
    for name, axes in needed.items():
        if name in checkpoint and len(checkpoint.shape(name)) != axes:
            raise ValueError(f"{checkpoint.source}: {name} has shape {checkpoint.shape(name)}, but needs {axes} axes")
    fields: dict[str, Any] = {
        field: checkpoint.shape(name)[0]
        for name, field in (*((name, "projection_dim") for name in _PROJECTIONS), ("classifier.weight", "num_labels"))
        if name in checkpoint
    }
    return CLIPConfig(
        text_config=_text(checkpoint) if "text_model" in towers else None,
        vision_config=_vision(checkpoint) if "vision_model" in towers else None,
        **fields,
    )


def _text(checkpoint: Shapes) -> dict[str, Any]:
    tokens, positions, _ = map(checkpoint.shape, _NEEDED["text_model"])
    vocab_size, width = tokens
    return {
        **_tower(checkpoint, "text_model", width),
        **token_ids(vocab_size),
        "vocab_size": vocab_size,
        "max_position_embeddings": positions[0],
    }


def _vision(checkpoint: Shapes) -> dict[str, Any]:
    patches, places, _ = map(checkpoint.shape, _NEEDED["vision_model"])
    width, channels, patch_size, _ = patches
    grid = math.isqrt(max(places[0] - 1, 0))
    if grid < 1 or grid**2 + 1 != places[0]:
        raise ValueError(f"{checkpoint.source}: {places[0]} positions are not one class token plus a square of patches")
    return {
        **_tower(checkpoint, "vision_model", width),
        "num_channels": channels,
        "image_size": grid * patch_size,
        "patch_size": patch_size,
    }


def token_ids(vocab_size: int) -> dict[str, int | None]:
    """Return the special tokens of a model that pools at the largest id and pads with 0, as configuration fields."""
    if vocab_size == VOCAB_SIZE:
        return {"bos_token_id": BOS_TOKEN_ID, "eos_token_id": EOS_TOKEN_ID, "pad_token_id": PAD_TOKEN_ID}
    return {"bos_token_id": None, "eos_token_id": LARGEST_ID, "pad_token_id": PAD_TOKEN_ID}


def pools_at_largest_id(config: CLIPTextConfig) -> bool:
    """Return True if a model pools at the largest id of a row, or at the largest id in the vocabulary."""
    return config.eos_token_id in {LARGEST_ID, config.vocab_size - 1}


def check_openai(config: CLIPConfig) -> None:
    """Check that OpenAI's code would run a configuration unchanged.

    Raises:
        ValueError: a field differs from the value that OpenAI's code assumes; one message names all such fields.
    """
    faults = [*_faults(config.text_config), *_faults(config.vision_config)]
    if not pools_at_largest_id(config.text_config):
        eos, largest = config.text_config.eos_token_id, config.text_config.vocab_size - 1
        faults.append(f"text_config.eos_token_id is {eos}, but OpenAI's code pools at the largest id, {largest}")
    if config.vision_config.num_channels != 3:
        faults.append(f"vision_config.num_channels is {config.vision_config.num_channels} instead of 3")
    if faults:
        raise ValueError(f"OpenAI's code cannot run this model: {'; '.join(faults)}")


def _tower(checkpoint: Shapes, tower: str, width: int) -> dict[str, int | float | str]:
    if width % HEAD_WIDTH:
        raise ValueError(
            f"{checkpoint.source}: the width of the {tower}, {width}, is not a multiple of OpenAI's head width, "
            f"{HEAD_WIDTH}; put the model's config.json or open_clip_config.json beside the weights"
        )
    layers = {name.split(".")[3] for name in checkpoint if name.startswith(f"{tower}.encoder.layers.")}
    return {
        "hidden_size": width,
        "intermediate_size": checkpoint.shape(f"{tower}.encoder.layers.0.mlp.fc1.weight")[0],
        "num_hidden_layers": len(layers),
        "num_attention_heads": width // HEAD_WIDTH,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": LAYER_NORM_EPS,
    }


def _faults(config: CLIPTextConfig | CLIPVisionConfig) -> Iterator[str]:
    wanted = {
        "hidden_act": "quick_gelu",
        "layer_norm_eps": LAYER_NORM_EPS,
        "num_attention_heads": config.hidden_size // HEAD_WIDTH,
        "intermediate_size": config.hidden_size * MLP_RATIO,
        "pruned_heads": {},
    }
    for field, value in wanted.items():
        if getattr(config, field) != value:
            yield f"{config.base_config_key}.{field} is {getattr(config, field)!r} instead of {value!r}"


def _texts(description: Description, _: Mapping[str, TensorEntry], libraries: str) -> dict[str, str]:
    """Return no texts, after checking that the weights alone describe the model."""
    from converters.sidecars.preprocessing import check_openai_preprocessing

    config = whole_model(description, libraries)
    check_openai(config)
    if description.preprocessing is not None:
        check_openai_preprocessing(description.preprocessing, config.vision_config.image_size)
    return {}


def _preprocessing(_: None, image_size: int) -> CLIPImageProcessor:
    from converters.sidecars.preprocessing import openai_preprocessing

    return openai_preprocessing(image_size)


OPENAI_FILES = Companions(_texts, tokenizer="none", config_name=None, preprocessing=_preprocessing)
