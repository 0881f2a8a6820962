"""Layers with fresh weights, drawn with the standard deviations of transformers' CLIP.

PyTorch's own initialisation is skipped, and on the meta device, where a model waits for its checkpoint, ours too.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils import skip_init

Layer = TypeVar("Layer", nn.Linear, nn.Embedding, nn.Conv2d)


def linear(in_features: int, out_features: int, *, std: float, bias: bool = True) -> nn.Linear:
    """A linear layer whose weight is normal with the standard deviation `std`, and whose bias is zero."""
    return _drawn(skip_init(nn.Linear, in_features, out_features, bias=bias, device=torch.get_default_device()), std)


def embedding(num_embeddings: int, width: int, *, std: float) -> nn.Embedding:
    """An embedding table that is normal with the standard deviation `std`."""
    return _drawn(skip_init(nn.Embedding, num_embeddings, width, device=torch.get_default_device()), std)


def patch_convolution(in_channels: int, width: int, patch_size: int, *, std: float) -> nn.Conv2d:
    """A convolution that takes each patch once, without bias, normal with the standard deviation `std`."""
    options = {"kernel_size": patch_size, "stride": patch_size, "bias": False, "device": torch.get_default_device()}
    return _drawn(skip_init(nn.Conv2d, in_channels, width, **options), std)


def normal_vector(width: int, *, std: float) -> nn.Parameter:
    """A parameter `(width,)` that is normal with the standard deviation `std`."""
    return nn.Parameter(torch.empty(width).normal_(std=std))


def _drawn(layer: Layer, std: float) -> Layer:
    if not layer.weight.is_meta:
        nn.init.normal_(layer.weight, std=std)
        if isinstance(layer, nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return layer
