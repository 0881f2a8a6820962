"""open_clip, from PyPI's open_clip_torch; see `support.oracle`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def _package() -> Any:
    from support.stand_ins import stand_ins

    with stand_ins():
        import open_clip
    return open_clip


def embed(folder: str, pixel_values: np.ndarray, input_ids: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return open_clip's result for a folder: unit-norm embeddings, and its preprocessing."""
    open_clip = _package()
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    return _embeddings(model, pixel_values, input_ids), open_clip.get_model_preprocess_cfg(model)


def save(
    folder: str,
    model_cfg: dict[str, Any],
    pixel_values: np.ndarray,
    input_ids: np.ndarray,
    *,
    custom_text: bool = False,
    safe: bool = True,
    preprocess_cfg: dict[str, Any] | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Write a model with random weights as open_clip's are on the hub; its state dict and unit embeddings."""
    import safetensors.torch
    import torch

    open_clip = _package()
    torch.manual_seed(0)
    model = (open_clip.CustomTextCLIP if custom_text else open_clip.CLIP)(**model_cfg).eval()
    state = model.state_dict()
    content = {"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg or {}}
    (Path(folder) / "open_clip_config.json").write_text(json.dumps(content))
    if safe:
        safetensors.torch.save_file(state, Path(folder) / "open_clip_model.safetensors")
    else:
        torch.save(state, Path(folder) / "open_clip_pytorch_model.bin")
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    return arrays, _embeddings(model, pixel_values, input_ids)


def _embeddings(model: Any, pixel_values: np.ndarray, input_ids: np.ndarray) -> dict[str, np.ndarray]:
    import torch

    with torch.no_grad():
        return {
            "image_embeds": model.encode_image(torch.from_numpy(pixel_values), normalize=True).numpy(),
            "text_embeds": model.encode_text(torch.from_numpy(input_ids), normalize=True).numpy(),
        }
