"""Checkpoint formats and name rules. Arrays are numpy; no framework is imported.

The names in `__all__` are public; the modules are internal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_core.imports.lazy import names_on_demand

if TYPE_CHECKING:
    from converters.checkpoint import Checkpoint, CheckpointError, open_checkpoint
    from converters.conversion import Conversion, convert
    from converters.formats import FORMATS
    from converters.inspection.diff import Difference, diff
    from converters.inspection.inspect import Inspection, inspect
    from converters.verification.result import Verification
    from converters.verification.verify import verify

__all__ = [
    "FORMATS",
    "Checkpoint",
    "CheckpointError",
    "Conversion",
    "Difference",
    "Inspection",
    "Verification",
    "convert",
    "diff",
    "inspect",
    "open_checkpoint",
    "verify",
]

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "Checkpoint": "checkpoint",
        "CheckpointError": "checkpoint",
        "Conversion": "conversion",
        "Difference": "inspection.diff",
        "FORMATS": "formats",
        "Inspection": "inspection.inspect",
        "Verification": "verification.result",
        "convert": "conversion",
        "diff": "inspection.diff",
        "inspect": "inspection.inspect",
        "open_checkpoint": "checkpoint",
        "verify": "verification.verify",
    },
)
