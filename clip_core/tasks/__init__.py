"""Ready-made tasks on a CLIP model, in any framework."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_core._lazy import names_on_demand

if TYPE_CHECKING:
    from clip_core.tasks.zero_shot import ZeroShotClassifier

__all__ = [
    "ZeroShotClassifier",
]

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "ZeroShotClassifier": "zero_shot",
    },
)
