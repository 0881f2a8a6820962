"""PyTorch behind the tasks of clip_core: numpy in, numpy out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from clip_torch.model import CLIPModel, unit_norm

if TYPE_CHECKING:
    import os

    import numpy as np


class TorchEncoder:
    """A CLIPModel as a `clip_core.backends.Encoder`.

    Args:
        model: the model, on the device and in the dtype that are to be used.
    """

    def __init__(self, model: CLIPModel) -> None:
        self.model = model

    @torch.inference_mode()
    def encode_images(self, pixel_values: np.ndarray) -> np.ndarray:
        """Pictures `(batch, channels, height, width)` to embeddings of unit norm `(batch, projection)`, float32."""
        return _float32(unit_norm(self.model.get_image_features(self._on_device(pixel_values))))

    @torch.inference_mode()
    def encode_texts(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        """Ids and mask `(batch, seq)` to embeddings of unit norm `(batch, projection)`, float32."""
        features = self.model.get_text_features(self._on_device(input_ids), self._on_device(attention_mask))
        return _float32(unit_norm(features))

    @torch.inference_mode()
    def logits_per_image(self, image_embeds: np.ndarray, text_embeds: np.ndarray) -> np.ndarray:
        """Scaled similarities `(images, texts)`, float32, computed in the model's dtype."""
        images, texts = (self._on_device(embeds).to(self.model.dtype) for embeds in (image_embeds, text_embeds))
        return _float32((texts @ images.t() * self.model.logit_scale.exp()).t())

    def _on_device(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.model.device)


def backend(
    source: str | os.PathLike[str], *, device: str | None = None, dtype: str | None = None, **options: Any
) -> TorchEncoder:
    """Load a CLIPModel for the tasks.

    Args:
        source: a folder, a file or a hub id.
        device: "cpu", "cuda" and so on; by default the accelerator with most memory, or else the CPU.
        dtype: "float32", "float16", "bfloat16", or "auto"; float32 by default.
        **options: further keywords of `CLIPModel.from_pretrained`.
    """
    return TorchEncoder(CLIPModel.from_pretrained(source, device_map=device or "auto", dtype=dtype, **options))


def _float32(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.float().cpu().numpy()
    return array
