"""Which parameters decay and which are trained at all, by their canonical names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clip_core.training.settings import Freeze


def decays(name: str) -> bool:
    """Whether weight decay acts on a parameter: not on biases, norms, the temperature and the class token."""
    return not name.endswith((".bias", "logit_scale", "class_embedding")) and "norm" not in name


def is_trained(name: str, freeze: Freeze) -> bool:
    """Whether a parameter is trained where a tower is frozen; the projections always are."""
    return not name.startswith(f"{freeze}_model.")
