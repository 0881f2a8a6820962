"""Tiny PyTorch models and inputs for them."""

from __future__ import annotations

from typing import Any

import torch

import clip_torch
from support.configs import inputs_for, tiny_config


def build(class_name: str = "CLIPModel", *, seed: int = 0, **config: Any) -> Any:
    torch.manual_seed(seed)
    return getattr(clip_torch, class_name)(tiny_config(**{"num_labels": 3, **config})).eval()


def tensors(class_name: str, batch: int = 4) -> dict[str, torch.Tensor]:
    """Return inputs of a model class, by keyword."""
    return {name: torch.from_numpy(array) for name, array in inputs_for(class_name, batch).items()}
