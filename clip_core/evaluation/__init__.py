"""Evaluation of a model of any framework, in numpy: zero-shot classification, retrieval and a linear probe.

The names in `__all__` are public; the modules are internal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_core.imports.lazy import names_on_demand

if TYPE_CHECKING:
    from clip_core.evaluation import metrics, probe, retrieval, zero_shot
    from clip_core.evaluation.labelled import open_labelled
    from clip_core.evaluation.probe import ProbeReport
    from clip_core.evaluation.retrieval import RetrievalReport
    from clip_core.evaluation.templates import read_templates
    from clip_core.evaluation.zero_shot import ZeroShotReport

__all__ = [
    "ProbeReport",
    "RetrievalReport",
    "ZeroShotReport",
    "metrics",
    "open_labelled",
    "probe",
    "read_templates",
    "retrieval",
    "zero_shot",
]

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "ProbeReport": "probe",
        "RetrievalReport": "retrieval",
        "ZeroShotReport": "zero_shot",
        "metrics": "metrics",
        "open_labelled": "labelled",
        "probe": "probe",
        "read_templates": "templates",
        "retrieval": "retrieval",
        "zero_shot": "zero_shot",
    },
)
