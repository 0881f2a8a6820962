"""Tiny Flax models."""

from __future__ import annotations

from typing import Any

import clip_flax
from support.configs import tiny_config


def build(class_name: str = "CLIPModel", *, seed: int = 0, **config: Any) -> Any:
    return getattr(clip_flax, class_name)(tiny_config(**{"num_labels": 3, **config}), seed=seed)
