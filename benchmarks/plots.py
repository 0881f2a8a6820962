"""The pictures of the reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slopes import fit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    Curve = tuple[Sequence[float], Sequence[float]]

_WIDTH, _HEIGHT = 4.8, 3.6  # inches, of one pair of axes
_DOTS = 120  # per inch


def curves(path: Path, panels: Mapping[str, tuple[str, str, Mapping[str, Curve]]], *, slopes: bool = False) -> None:
    """Costs over sizes, both axes logarithmic.

    Args:
        path: the picture to write.
        panels: title to the axes' names and the curves by name; ours are drawn thick, and one without is left out.
        slopes: name each curve's exponent, and draw the fitted line.
    """
    panels = {title: panel for title, panel in panels.items() if panel[2]}
    figure, all_axes = _figure(len(panels))
    for axes, (title, (across, up, lines)) in zip(all_axes, panels.items(), strict=False):
        for number, (name, (sizes, costs)) in enumerate(lines.items()):
            _draw(axes, name, sizes, costs, color=f"C{number}", slopes=slopes)
        axes.set(title=title, xlabel=across, ylabel=up, xscale="log", yscale="log")
        _mark_sizes(axes, sorted({size for sizes, _ in lines.values() for size in sizes}))
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=7)
    figure.savefig(path, dpi=_DOTS)


def bars(path: Path, title: str, across: str, values: Mapping[str, float], line: float | None = None) -> None:
    """A bar for each value.

    Args:
        path: the picture to write.
        title: over it.
        across: what the numbers are.
        values: by name.
        line: where to draw one, such as the limit that was asked for.
    """
    figure, (axes,) = _figure(1, height=1.2 + 0.3 * len(values), width=2 * _WIDTH)
    axes.barh(list(values), list(values.values()), color=["C0" if _is_ours(name) else "C7" for name in values])
    axes.invert_yaxis()
    if line is not None:
        axes.axvline(line, color="C3", linestyle="--")
    axes.set(title=title, xlabel=across)
    axes.grid(alpha=0.3, axis="x")
    figure.savefig(path, dpi=_DOTS)


def _draw(axes: Any, name: str, sizes: Sequence[float], costs: Sequence[float], *, color: str, slopes: bool) -> None:
    label, width = name, 2.2 if _is_ours(name) else 1.2
    if slopes and len(sizes) > 1:
        slope = fit(sizes, costs)
        label = f"{name}, slope {slope.exponent:.2f}"
        axes.plot(sizes, [slope.at(size) for size in sizes], color=color, linestyle=":", linewidth=1)
    axes.plot(sizes, costs, color=color, marker="o", markersize=3, linewidth=width, label=label)


def _mark_sizes(axes: Any, sizes: list[float]) -> None:
    """The sizes that were measured, in place of powers of ten."""
    from matplotlib.ticker import NullLocator

    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())


def _is_ours(name: str) -> bool:
    return name.startswith("ours")


def _figure(panels: int, *, width: float = _WIDTH, height: float = _HEIGHT) -> tuple[Any, list[Any]]:
    """A figure of so many axes, three a row, drawn without a screen."""
    from matplotlib.figure import Figure

    columns = min(panels, 3)
    rows = -(-panels // columns)
    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in axes[panels:]:
        spare.set_visible(False)
    return figure, axes
