"""Layers with random weights, drawn with the standard deviations of transformers' CLIP.

PyTorch's own initialization is skipped. So is ours on the meta device, where a model waits for its checkpoint.
(`torch.nn.utils.skip_init` creates a layer on the meta device, initializes it there and moves it: 84 ms for the layers
of ViT-B/32, compared with 9 ms here.)
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import nn

from clip_core.modeling.drawing import is_drawing

Layer = TypeVar("Layer", nn.Linear, nn.Embedding, nn.Conv2d)


def linear(in_features: int, out_features: int, *, std: float, bias: bool = True) -> nn.Linear:
    """Return a linear layer with a normal weight of standard deviation `std` and a zero bias."""
    return _drawn(_empty(nn.Linear, in_features, out_features, bias=bias), std)


def projection(width: int, config: Any) -> nn.Linear:
    """Return a linear layer without bias from a tower's width into the joint space."""
    return linear(width, config.projection_dim, std=width**-0.5 * config.initializer_factor, bias=False)


def embedding(num_embeddings: int, width: int, *, std: float) -> nn.Embedding:
    """Return a normal embedding table of standard deviation `std`."""
    return _drawn(_empty(nn.Embedding, num_embeddings, width), std)


def patch_convolution(in_channels: int, width: int, patch_size: int, *, std: float) -> nn.Conv2d:
    """Return a convolution over disjoint patches, without bias, normal with standard deviation `std`."""
    return _drawn(_empty(nn.Conv2d, in_channels, width, kernel_size=patch_size, stride=patch_size, bias=False), std)


def normal_vector(width: int, *, std: float) -> nn.Parameter:
    """Return a normal parameter `(width,)` of standard deviation `std`."""
    vector = torch.empty(width)
    # On the meta device, `normal_` imports PyTorch's compiler and with it triton, which crashes beside TensorFlow.
    return nn.Parameter(vector if vector.is_meta else vector.normal_(std=std))


def add_positions(embeddings: nn.Module, table: nn.Embedding) -> None:
    """Give a module the positions that a table embeds, `(1, positions)`, as the unsaved buffer `position_ids`.

    They are on the CPU for a table on the meta device. `load_state_dict` ignores those of old checkpoints.
    """
    device = "cpu" if table.weight.is_meta else table.weight.device
    positions = torch.arange(table.num_embeddings, device=device)[None]
    embeddings.register_buffer("position_ids", positions, persistent=False)
    embeddings.register_load_state_dict_pre_hook(_drop_positions)


def _drop_positions(_module: Any, state_dict: dict[str, Any], prefix: str, *_details: Any) -> None:
    state_dict.pop(f"{prefix}position_ids", None)


class _Undrawn:
    def reset_parameters(self) -> None:
        """Skip the initialization that a layer runs when it is created."""


_UNDRAWN = {layer: type(layer.__name__, (_Undrawn, layer), {}) for layer in (nn.Linear, nn.Embedding, nn.Conv2d)}


def _empty(layer_class: type[Layer], *sizes: int, **options: Any) -> Layer:
    """Return an uninitialized layer of exactly this class, as quantization requires."""
    layer: Layer = _UNDRAWN[layer_class](*sizes, **options)
    layer.__class__ = layer_class
    return layer


def _drawn(layer: Layer, std: float) -> Layer:
    is_drawn = not layer.weight.is_meta and is_drawing()
    vars(layer).update(_drawn_with=std, _is_drawn=is_drawn)
    if is_drawn:
        draw(layer)
    return layer


def is_drawn(module: nn.Module) -> bool:
    """Return True for a layer of this module that was drawn when it was created."""
    return getattr(module, "_is_drawn", False)


def draw(module: Any) -> None:
    """Draw the weights of a layer like transformers.

    Layers of this module are normal with their own standard deviation, the scales of layer norms are one, and biases
    are zero. The weights of other linear layers stay as PyTorch initialized them.
    """
    std = getattr(module, "_drawn_with", None)
    if std is not None:
        nn.init.normal_(module.weight, std=std)
    elif isinstance(module, nn.LayerNorm) and module.weight is not None:
        nn.init.ones_(module.weight)
    if isinstance(module, (nn.Linear, nn.LayerNorm)) and module.bias is not None:
        nn.init.zeros_(module.bias)
