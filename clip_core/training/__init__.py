"""Framework-free part of training: settings, schedule, weight decay, logs, checkpoints and the loop.

The names in `__all__` are public; the modules are internal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_core.imports.lazy import names_on_demand

if TYPE_CHECKING:
    from clip_core.training.checkpoints import RunCheckpoint, RunFolder
    from clip_core.training.logs import open_log
    from clip_core.training.loop import Run, TrainingStoppedError
    from clip_core.training.settings import TrainSettings
    from clip_core.training.step import StepReport, Trainer

__all__ = [
    "Run",
    "RunCheckpoint",
    "RunFolder",
    "StepReport",
    "TrainSettings",
    "Trainer",
    "TrainingStoppedError",
    "open_log",
]

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "Run": "loop",
        "RunCheckpoint": "checkpoints",
        "RunFolder": "checkpoints",
        "StepReport": "step",
        "TrainSettings": "settings",
        "Trainer": "step",
        "TrainingStoppedError": "loop",
        "open_log": "logs",
    },
)
