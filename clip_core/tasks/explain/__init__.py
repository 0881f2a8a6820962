"""Explanations of a logit: the regions of the image and the words of the text that it depends on.

The names in `__all__` are public; the modules are internal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_core.imports.lazy import names_on_demand

if TYPE_CHECKING:
    from clip_core.tasks.explain.drawing import draw_explanation
    from clip_core.tasks.explain.explainer import ExplainedImage, Explainer, Explanation, Word
    from clip_core.tasks.explain.gradients import ExplainableEncoder, LayerAttention, LogitGradients
    from clip_core.tasks.explain.html import explanation_page

__all__ = [
    "ExplainableEncoder",
    "ExplainedImage",
    "Explainer",
    "Explanation",
    "LayerAttention",
    "LogitGradients",
    "Word",
    "draw_explanation",
    "explanation_page",
]

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "ExplainableEncoder": "gradients",
        "ExplainedImage": "explainer",
        "Explainer": "explainer",
        "Explanation": "explainer",
        "LayerAttention": "gradients",
        "LogitGradients": "gradients",
        "Word": "explainer",
        "draw_explanation": "drawing",
        "explanation_page": "html",
    },
)
