"""A report of explanations in one HTML file, with its images inside."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from clip_core.tasks.explain.drawing import PANEL, colours, overlay, word_colours

if TYPE_CHECKING:
    from collections.abc import Iterable

    from PIL import Image

    from clip_core.tasks.explain.explainer import ExplainedImage, Explanation

_STYLE = f"""
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem; color: #1e1e1e; background: #fff; }}
.row {{ display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }}
figure {{ margin: 0; width: {PANEL}px; }}
figure img {{ width: 100%; image-rendering: pixelated; }}
.word {{ padding: 0 .3em; border-radius: 3px; display: inline-block; margin: 0 .2em .2em 0; }}
.bar {{ height: 1rem; width: {PANEL}px; }}
.ends {{ display: flex; justify-content: space-between; width: {PANEL}px; }}
"""


def explanation_page(explained: Iterable[tuple[str, ExplainedImage]], method: str) -> str:
    """Render explained images as one HTML document, without links to other files.

    Args:
        explained: the images, each with its name.
        method: the method, for the title.

    Returns:
        The document.
    """
    sections = "".join(_section(name, one) for name, one in explained)
    stops = ", ".join(_css(colour) for colour in colours(np.linspace(0, 1, 10)))
    bar = f'<div class="bar" style="background: linear-gradient(to right, {stops})"></div>'
    ends = '<div class="ends"><span>0: least relevant patch</span><span>1: most</span></div>'
    title = f"Relevance by {escape(method)}"
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return (
        f"<!DOCTYPE html><html lang=en><head>{head}</head><body><h1>{title}</h1>{bar}{ends}{sections}</body></html>\n"
    )


def _section(name: str, explained: ExplainedImage) -> str:
    figures = [_figure(explained.image, "the image as the model sees it", "<p>the image as the model sees it</p>")]
    figures += [
        _figure(overlay(explained, one), f"relevance for {one.text}", _caption(one)) for one in explained.explanations
    ]
    return f'<h2>{escape(name)}</h2><div class="row">{"".join(figures)}</div>'


def _caption(explanation: Explanation) -> str:
    words = zip(explanation.words, word_colours(explanation.words), strict=True)
    spans = (
        f'<span class="word" style="background: {_css(ground)}; color: {_css(ink)}">{escape(word.text)} '
        f"{word.share:.0%}</span>"
        for word, (ground, ink) in words
    )
    return f"<p>{escape(explanation.text)}: logit {explanation.logit:.2f}</p><p>{''.join(spans)}</p>"


def _figure(image: Image.Image, alternative: str, caption: str) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    source = f'<img src="data:image/png;base64,{data}" alt="{escape(alternative)}">'
    return f"<figure>{source}<figcaption>{caption}</figcaption></figure>"


def _css(colour: Iterable[int]) -> str:
    return f"rgb({', '.join(str(int(part)) for part in colour)})"
