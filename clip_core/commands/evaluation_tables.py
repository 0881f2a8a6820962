"""Tables printed by `clip-zoo evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from clip_core.commands.streams import console
from clip_core.hub.printing import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clip_core.evaluation.classification import Classification
    from clip_core.evaluation.probe import ProbeReport
    from clip_core.evaluation.retrieval import Direction, RetrievalReport
    from clip_core.evaluation.zero_shot import ZeroShotReport

_WORST = 10  # classes shown


def print_zero_shot(report: ZeroShotReport) -> None:
    """Print the accuracies and the worst classes.

    Args:
        report: the report.
    """
    prompts = f"{len(report.templates)} templates" if len(report.templates) > 1 else repr(report.templates[0])
    _print_classification(report.result, f"prompts: {prompts}")


def print_probe(report: ProbeReport) -> None:
    """Print the accuracies, the worst classes, and details of the fit.

    Args:
        report: the report.
    """
    doubt = "" if report.converged else f", not converged after {counted(report.iterations, 'iteration')}"
    fitted = f"fitted on {counted(report.training_pictures, 'image')}, penalty {report.strength:.3g}{doubt}"
    _print_classification(report.result, fitted)


def print_retrieval(report: RetrievalReport) -> None:
    """Print both directions side by side.

    Args:
        report: the report.
    """
    table = _table("", "image to text", "chance", "text to image", "chance")
    there, back = report.image_to_text, report.text_to_image
    for k in there.recall:
        cells = [number for way in (there, back) for number in (_percent(way.recall[k]), _percent(way.chance[k]))]
        table.add_row(f"recall@{k}", *cells)
    for name, field in (("mean reciprocal rank", "mean_reciprocal_rank"), ("median rank", "median_rank")):
        table.add_row(name, _number(there, field), "", _number(back, field), "")
    out = console()
    out.print(table)
    cut = f"; {counted(report.truncated, 'text')} truncated to the model's length" if report.truncated else ""
    counts = {"image": report.pictures, "text": report.texts, "pair": report.pairs}
    out.print(", ".join(counted(count, noun) for noun, count in counts.items()) + cut)


def _print_classification(result: Classification, about: str) -> None:
    out = console()
    table = _table("", "", "chance")
    table.add_row("top-1", _percent(result.top_1), _percent(1 / result.classes))
    table.add_row("top-5", _percent(result.top_5), _percent(min(1, 5 / result.classes)))
    table.add_row("mean per-class top-1", _percent(result.mean_per_class), _percent(1 / result.classes))
    out.print(table)
    out.print(f"{counted(result.pictures, 'image')}, {counted(result.classes, 'class', 'classes')}; {about}")
    worst = [one for one in result.by_class if one.accuracy < 1]
    if not worst:
        return
    table = _table("worst classes", "top-1", "images", "predicted as")
    for one in worst[:_WORST]:
        taken_for = ", ".join(f"{name} ({count})" for name, count in one.taken_for.items())
        table.add_row(*_texts([one.name, _percent(one.accuracy), str(one.pictures), taken_for]))
    out.print(table)


def _table(first: str, *columns: str) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold")
    for name in columns:
        table.add_column(name, justify="left" if name == "predicted as" else "right", overflow="fold")
    return table


def _texts(cells: Iterable[str]) -> list[Text]:
    """Wrap cells as Text: rich would parse square brackets in a plain string as markup."""
    return [Text(cell) for cell in cells]


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _number(way: Direction, field: str) -> str:
    return f"{getattr(way, field):.3g}"
