"""Plots of the reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slopes import fit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    Curve = tuple[Sequence[float], Sequence[float]]
    Style = Mapping[str, object]  # keywords of matplotlib's `plot`

_WIDTH, _HEIGHT = 4.8, 3.6  # inches, per pair of axes
_DOTS = 120  # per inch
_LABEL_GAP = 0.055  # minimum distance of two labels, as a fraction of the axes' height
_BASELINE = 1.0


def curves(path: Path, panels: Mapping[str, tuple[str, str, Mapping[str, Curve]]], *, slopes: bool = False) -> None:
    """Plot costs over sizes, both axes logarithmic.

    Args:
        path: the image file to write.
        panels: title to axis labels and curves by name. Ours are drawn thick, and panels without curves are omitted.
        slopes: label each curve with its exponent, and draw the fitted line.
    """
    panels = {title: panel for title, panel in panels.items() if panel[2]}
    figure, all_axes = _figure(len(panels))
    for axes, (title, (across, up, lines)) in zip(all_axes, panels.items(), strict=False):
        for number, (name, (sizes, costs)) in enumerate(lines.items()):
            _draw(axes, name, sizes, costs, color=f"C{number}", slopes=slopes)
        axes.set(title=title, xlabel=across, ylabel=up, xscale="log", yscale="log")
        _mark_sizes(axes, sorted({size for sizes, _ in lines.values() for size in sizes}))
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, frameon=False)
    figure.savefig(path, dpi=_DOTS)


def relative_curves(
    path: Path,
    panels: Mapping[str, tuple[str, Mapping[str, Curve]]],
    *,
    up: str,
    baseline: str,
    styles: Mapping[str, Style],
    limits: tuple[float, float],
) -> None:
    """Plot ratios to a baseline over a logarithmic size, with each line labelled at its right end.

    Args:
        path: the image file to write.
        panels: title to the label of the horizontal axis and the curves by name.
        up: label of the shared vertical axis.
        baseline: label of the dashed line at 1.
        styles: style of each curve; its label takes the same color.
        limits: the limits of the vertical axis.
    """
    figure, all_axes = _figure(len(panels))
    for axes, (title, (across, lines)) in zip(all_axes, panels.items(), strict=True):
        ends = {baseline: _BASELINE, **{name: ratios[-1] for name, (_, ratios) in lines.items()}}
        colors = {baseline: "0.35"} | {name: styles[name]["color"] for name in lines}
        sizes = sorted({size for across_sizes, _ in lines.values() for size in across_sizes})
        axes.axhline(_BASELINE, color=colors[baseline], linestyle="--", linewidth=1.2)
        for name, (at, ratios) in lines.items():
            axes.plot(at, ratios, marker="o", markersize=3.5, **styles[name])
        axes.set(title=title, xlabel=across, xscale="log", xlim=(sizes[0] * 0.85, sizes[-1] * 1.2), ylim=limits)
        _mark_sizes(axes, sizes)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        gap = _LABEL_GAP * (limits[1] - limits[0])
        for name, height in zip(ends, spread_apart(list(ends.values()), gap), strict=True):
            axes.annotate(
                name,
                (1.02, height),
                xycoords=("axes fraction", "data"),
                color=colors[name],
                fontsize=9,
                verticalalignment="center",
                annotation_clip=False,
            )
    all_axes[0].set_ylabel(up)
    figure.savefig(path, dpi=_DOTS)


def spread_apart(heights: Sequence[float], gap: float) -> list[float]:
    """Return the heights with at least `gap` between neighbors, in the given order, each group around its mean."""
    groups: list[list[int]] = []
    centers: list[float] = []
    for index in sorted(range(len(heights)), key=heights.__getitem__):
        groups.append([index])
        centers.append(heights[index])
        while len(groups) > 1 and centers[-1] - centers[-2] < gap * (len(groups[-1]) + len(groups[-2])) / 2:
            groups[-2:] = [groups[-2] + groups[-1]]
            centers[-2:] = [sum(heights[one] for one in groups[-1]) / len(groups[-1])]
    placed = {}
    for group, center in zip(groups, centers, strict=True):
        for rank, index in enumerate(group):
            placed[index] = center + gap * (rank - (len(group) - 1) / 2)
    return [placed[index] for index in range(len(heights))]


def bars(path: Path, title: str, across: str, values: Mapping[str, float], line: float | None = None) -> None:
    """Plot a bar for each value.

    Args:
        path: the image file to write.
        title: title of the plot.
        across: label of the values' axis.
        values: the values, by name.
        line: the position of a marker line, such as the target; None for no line.
    """
    lines = sum(1 + name.count("\n") for name in values)
    figure, (axes,) = _figure(1, height=1.2 + 0.16 * len(values) + 0.14 * lines, width=2 * _WIDTH)
    axes.barh(list(values), list(values.values()), color=["C0" if _is_ours(name) else "C7" for name in values])
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=9)
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
    """Label the axis with the measured sizes rather than powers of ten."""
    from matplotlib.ticker import NullLocator

    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())


def _is_ours(name: str) -> bool:
    return name.startswith("ours")


def _figure(panels: int, *, width: float = _WIDTH, height: float = _HEIGHT) -> tuple[Any, list[Any]]:
    """Return a figure with this many axes, three per row, drawn without a display."""
    from matplotlib.figure import Figure

    columns = min(panels, 3)
    rows = -(-panels // columns)
    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in axes[panels:]:
        spare.set_visible(False)
    return figure, axes
