"""The report of a verification as one self-contained HTML file."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from clip_core.hub.files import write_text
from converters.verification.plot import line_plot

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from converters.verification.comparison import Comparison
    from converters.verification.result import Verification

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0.5em 0 }
th, td { text-align: left; padding: 0.2em 0.8em; border-bottom: 1px solid #ddd }
td.number { text-align: right }
.pass { color: #00672e } .fail { color: #b00020; font-weight: bold }
svg text { font: 11px system-ui, sans-serif; fill: #444 } svg { max-width: 100%; height: auto }
.legend span { margin-right: 1.5em } .legend i { display: inline-block; width: 1em; height: 0.3em; margin-right: 0.4em }
"""
_DRIFT_GROUPS = {"embeddings", "hidden states", "attentions", "pooled", "projected", "unit-norm embeddings"}
_PARAMETER_GROUPS = {"gradients", "updated parameters"}
_WORST = 25  # parameters shown


def write_report(result: Verification, path: str | os.PathLike[str]) -> None:
    """Write the report atomically."""
    write_text(path, render(result))


def render(result: Verification) -> str:
    """Render the report as HTML."""
    title = escape(f"{result.class_name} in {result.checkpoint}")
    versions = [[*map(escape, row)] for row in result.versions.items()]
    sections = [
        f'<h1>{title}</h1><p class="{_class(result.passed)}">{escape(result.verdict())}</p>',
        _facts(result),
        f"<h2>Worst stage of each group</h2>{_comparisons(result.worst_of_groups().values())}",
        _drift(result),
        _worst_parameters(result),
        f"<h2>Versions and hardware</h2>{_table([], versions)}",
        f"<h2>Every stage</h2><details><summary>Show</summary>{_comparisons(result.comparisons)}</details>",
    ]
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    body = "\n".join(sections)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def _facts(result: Verification) -> str:
    rows = [["backends", ", ".join(result.backends)], ["dtype", result.dtype]]
    if result.against is not None:
        rows.append(["compared with", result.against])
    rows += [
        [name, origin if origin == "drawn" else f"from the processor of {origin}"]
        for name, origin in result.inputs.items()
    ]
    rows += [[name, f"did not finish: {why.strip()}"] for name, why in result.failures.items()]
    rows += [
        [f"configuration: {name}", f"{one} in the first checkpoint, {other} in the second"]
        for name, (one, other) in result.configuration.items()
    ]
    return _table([], [[*map(escape, row)] for row in rows])


def _drift(result: Verification) -> str:
    """Plot the relative differences over the stages, one line per pair of runs and one plot per tower."""
    plots = []
    for tower, title in (("vision.", "Drift through the vision tower"), ("text.", "Drift through the text tower")):
        ours = [one for one in result.comparisons if one.stage.startswith(tower) and one.group in _DRIFT_GROUPS]
        if ours:
            plots.append(
                f"<h2>{title}</h2><p>Largest difference relative to the largest value.</p>{_plot(ours, tower)}"
            )
    return "".join(plots)


def _plot(comparisons: Sequence[Comparison], tower: str) -> str:
    stages = list(dict.fromkeys(one.stage for one in comparisons))
    found = {(one.pair, one.stage): one for one in comparisons}
    limits = {
        one.stage: max(other.tolerance for other in comparisons if other.stage == one.stage) for one in comparisons
    }
    lines = {
        " / ".join(pair): [found[pair, stage].relative if (pair, stage) in found else 0.0 for stage in stages]
        for pair in dict.fromkeys(one.pair for one in comparisons)
    }
    return line_plot([stage.removeprefix(tower) for stage in stages], lines, [limits[stage] for stage in stages])


def _worst_parameters(result: Verification) -> str:
    ours = [one for one in result.comparisons if one.group in _PARAMETER_GROUPS]
    if not ours:
        return ""
    worst = sorted(ours, key=lambda one: -one.badness)[:_WORST]
    return "<h2>Worst parameters</h2>" + _comparisons(worst)


def _comparisons(comparisons: Iterable[Comparison]) -> str:
    head = ["group", "stage", "runs", "absolute", "relative", "tolerance", "scale", ""]
    rows = []
    for one in comparisons:
        numbers = [f"{one.absolute:.2e}", f"{one.relative:.2e}", f"{one.tolerance:.0e}"]
        words = [one.group, one.stage, " / ".join(one.pair), *numbers, one.fault or one.scale]
        verdict = f'<span class="{_class(one.passed)}">{"pass" if one.passed else "FAIL"}</span>'
        rows.append([*map(escape, words), verdict])
    return _table(head, rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Render a table of cells that already are HTML."""
    titles = f"<tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>" if head else ""
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{titles}{body}</table>"


def _class(passed: bool) -> str:
    return "pass" if passed else "fail"
