"""OpenAI's own code, from PyPI's clip-anytorch; see `support.oracle`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def _package() -> Any:
    from support.stand_ins import stand_ins

    with stand_ins():
        import clip
        import clip.model
    return clip


def embed(path: str, pixel_values: np.ndarray, input_ids: np.ndarray) -> dict[str, np.ndarray]:
    """Return the embeddings, of unit norm, that a model from `clip.load` computes for images and texts."""
    model, _ = _package().load(path, device="cpu")
    return _embeddings(model, pixel_values, input_ids)


def save(
    path: str, *, archive: bool, half: bool, pixel_values: np.ndarray, input_ids: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Write a model with random weights as OpenAI's are, and return its state dict and its embeddings in float32."""
    import torch

    clip = _package()
    torch.manual_seed(0)
    model = clip.model.CLIP(24, 30, 2, 128, 6, 19, 99, 64, 1, 3).eval()
    if half:
        clip.model.convert_weights(model)
    numbers = {"input_resolution": 30, "context_length": 19, "vocab_size": 99}
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    if archive:
        for name, number in numbers.items():
            vars(model).pop(name, None)
            model.register_buffer(name, torch.tensor(number))
        pixels = torch.from_numpy(pixel_values).to(model.dtype)
        torch.jit.save(torch.jit.trace(model, (pixels, torch.from_numpy(input_ids)), check_trace=False), path)
    else:
        torch.save({**state, **{name: torch.tensor(number) for name, number in numbers.items()}}, path)
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    return arrays, _embeddings(model.float(), pixel_values, input_ids)


def _embeddings(model: Any, pixel_values: np.ndarray, input_ids: np.ndarray) -> dict[str, np.ndarray]:
    import torch

    with torch.no_grad():
        images = model.encode_image(torch.from_numpy(pixel_values))
        texts = model.encode_text(torch.from_numpy(input_ids))
    return {
        name: (features / features.norm(dim=-1, keepdim=True)).float().numpy()
        for name, features in (("image_embeds", images), ("text_embeds", texts))
    }
