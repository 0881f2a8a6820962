"""Line plots over stages on a logarithmic scale, as inline SVG."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDTH, _HEIGHT = 860, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 20, 15, 110  # space for the labels
# Distinguishable with colour blindness.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c564b")


def line_plot(labels: Sequence[str], lines: Mapping[str, Sequence[float]], limits: Sequence[float]) -> str:
    """Plot positive numbers by label.

    Args:
        labels: the labels below the positions.
        lines: one number per label for each line; zero is shown at the bottom, and infinity and NaN at the top.
        limits: one number per label, shown as a dashed line.
    """
    finite = [value for line in (*lines.values(), limits) for value in line if 0 < value < math.inf]
    low = math.floor(math.log10(min(finite, default=1e-8)))
    high = max(math.ceil(math.log10(max(finite, default=1.0))), low + 1)
    parts = [_grid(low, high), _names(labels)]
    curves = {name: _points(line, low, high) for name, line in lines.items()}
    for (name, points), colour in zip(curves.items(), _cycle(len(curves)), strict=True):
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in points)
        parts.append(f"<g><title>{escape(name)}</title>{_polyline(points, colour)}{dots}</g>")
    parts.append(_polyline(_points(limits, low, high), "#b00020", 'stroke-dasharray="6 4"'))
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    return f'<svg {size} role="img" aria-label="differences by stage">{"".join(parts)}</svg>{_legend(list(lines))}'


def _points(line: Sequence[float], low: int, high: int) -> list[tuple[float, float]]:
    return [(_x(place, len(line)), _y(value, low, high)) for place, value in enumerate(line)]


def _x(place: int, count: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (place + 0.5) / count


def _y(value: float, low: int, high: int) -> float:
    if value <= 0:
        share = 0.0
    elif math.isfinite(value):
        share = min(max((math.log10(value) - low) / (high - low), 0.0), 1.0)
    else:
        share = 1.0
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share


def _polyline(points: Sequence[tuple[float, float]], colour: str, extra: str = "") -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5" {extra}/>'


def _grid(low: int, high: int) -> str:
    """Draw lines and labels for powers of ten, about eight of them at most."""
    step = max(1, math.ceil((high - low) / 8))
    parts = []
    for power in range(low, high + 1, step):
        y = _y(10.0**power, low, high)
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">1e{power}</text>')
    return "".join(parts)


def _names(labels: Sequence[str]) -> str:
    """Draw slanted labels; if there are many, only every second or third of them."""
    step = math.ceil(len(labels) / 40) or 1
    parts = []
    for place in range(0, len(labels), step):
        x, y = _x(place, len(labels)), _HEIGHT - _BOTTOM + 12
        turn = f'transform="rotate(-50 {x:.1f} {y})"'
        parts.append(f'<text x="{x:.1f}" y="{y}" text-anchor="end" {turn}>{escape(labels[place])}</text>')
    return "".join(parts)


def _legend(names: Sequence[str]) -> str:
    keys = "".join(
        f'<span><i style="background:{colour}"></i>{escape(name)}</span>'
        for name, colour in zip(names, _cycle(len(names)), strict=True)
    )
    return f'<p class="legend">{keys}<span><i style="background:#b00020"></i>tolerance</span></p>'


def _cycle(count: int) -> list[str]:
    return [COLOURS[place % len(COLOURS)] for place in range(count)]
