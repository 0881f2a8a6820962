"""Small complete checkpoints: weights in any format, and the files beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from clip_core.images.processor import CLIPImageProcessor
from converters.conversion import convert
from converters.formats import format_named
from converters.writing import save_weights
from support.configs import tiny_config
from support.entries import entry, part_of, random_arrays

if TYPE_CHECKING:
    from pathlib import Path

    from clip_core.configuration import CLIPConfig

# Formats whose libraries run any configuration; OpenAI's code takes most of it for granted.
ANY_CONFIG = ("safetensors", "torch", "tf", "flax", "open_clip")
ALL_FORMATS = (*ANY_CONFIG, "openai")

# Preprocessing for the odd configuration: no value is a default.
ODD_STEPS: dict[str, Any] = {
    "size": {"height": 30, "width": 30},
    "do_center_crop": False,
    "crop_size": 30,
    "resample": 2,
    "image_mean": [0.5, 0.25, 0.125],
    "image_std": [0.375, 0.5, 0.75],
}

# OpenAI's preprocessing for `openai_config`.
OPENAI_STEPS: dict[str, Any] = {"size": {"shortest_edge": 30}, "crop_size": 30}


def odd_config(**top: Any) -> CLIPConfig:
    """Return the tiny odd configuration with images of three channels, as open_clip's code requires."""
    return tiny_config({}, {"num_channels": 3}, **top)


def openai_config(text: dict[str, Any] | None = None, vision: dict[str, Any] | None = None) -> CLIPConfig:
    """Return a tiny configuration for OpenAI's code: heads of 64, MLPs of four widths, quick_gelu, epsilon 1e-5."""
    same = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
    ids = {"bos_token_id": None, "eos_token_id": 2, "pad_token_id": 0}
    return tiny_config(
        {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 1, **same, **ids, **(text or {})},
        {
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_attention_heads": 2,
            "num_channels": 3,
            **same,
            **(vision or {}),
        },
        logit_scale_init_value=2.6592,
    )


def save_checkpoint(
    folder: Path,
    config: CLIPConfig,
    class_name: str = "CLIPModel",
    *,
    dtype: Any = np.float32,
    steps: dict[str, Any] | None = None,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Write random weights as safetensors, their config.json and, with `steps`, a preprocessor_config.json.

    Returns:
        The weights, which are exact in float16, so that casts to it and back are exact.
    """
    arrays = random_arrays(config, class_name, np.float16)
    arrays = {name: array.astype(dtype) for name, array in arrays.items()}
    part = part_of(config, class_name)
    part.architectures = [class_name]
    texts = {"config.json": part.to_json_string()}
    if steps is not None:
        texts["preprocessor_config.json"] = CLIPImageProcessor(**steps).to_json_string()
    entries = {name: entry(array) for name, array in arrays.items()}
    format_ = format_named("safetensors")
    save_weights(folder, entries, format_, texts=texts, **options)
    return arrays


def save_as(folder: Path, to: str, config: CLIPConfig, **options: Any) -> dict[str, np.ndarray]:
    """Save the same in any format."""
    arrays = save_checkpoint(folder / "source", config, **options)
    convert(folder / "source", folder / to, to)
    return arrays


def content(folder: Path) -> dict[str, bytes]:
    """Return the content of every file of a folder, to see that nothing changed."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def with_values(folder: Path, **changes: np.ndarray) -> None:
    """Rewrite a folder's weights with some replaced, named as in `logit_scale` or `visual_projection__weight`."""
    from safetensors.numpy import load_file, save_file

    arrays = load_file(folder / "model.safetensors")
    arrays |= {name.replace("__", "."): array for name, array in changes.items()}
    save_file(arrays, folder / "model.safetensors", metadata={"format": "pt"})


def pairs(formats: tuple[str, ...]) -> list[Any]:
    """Return the conversions of every format to every format, including itself, as cases of a test."""
    return [pytest.param(one, other, id=f"{one} to {other}") for one in formats for other in formats]
