"""The rows of the benchmarks by number, and those that bring measurements of their own into reports."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from goals import Goal, at_least, at_most
from harness import COLUMNS
from interleaved import Ratio
from plots import bars
from report import Report, Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import Row
    from settings import Settings

_FRAMEWORKS = ("torch", "tf", "flax")
_MEGABYTE = 1e6


def start(settings: Settings) -> Report:
    """Row 1: imports and the command line, each in fresh processes."""
    import start as row
    from checkpoints import write_random

    from clip_core.configuration import CLIPConfig

    repeats = 1 if settings.quick else row.REPEATS
    checkpoint = settings.scratch / "start"
    write_random(checkpoint, CLIPConfig(row.SMALL_TEXT, row.SMALL_VISION, projection_dim=128))
    backends = _FRAMEWORKS[:1] if settings.quick else _FRAMEWORKS
    found = [one for backend in backends for one in row.import_rows(backend, repeats)]
    found += row.command_rows(checkpoint, repeats)
    written = _report("start", "Starting", row, settings)
    columns = ["start", "s", "over the bare one, s", "processor, s", "over the bare one, s"]
    cells = [
        [
            f"`{one['name']}`",
            f"{one['wall']:.2f} (±{one['spread']:.0%})",
            *(f"{one[key]:.2f}" for key in ("wall_over_bare", "processor", "processor_over_bare")),
        ]
        for one in found
    ]
    written.tables = [Table(columns, cells)]
    written.measurements = found
    for one in found:
        if one["name"].startswith("import clip_"):
            written.goals.append(at_most(f"`{one['name']}` over its framework", one["wall_over_bare"], 0.3, " s"))
        elif one["name"].startswith("clip-zoo"):
            written.goals.append(at_most(f"`{one['name']}`", one["wall"], 0.5, " s"))
    written.plot = partial(
        bars, title="Start", across="s over the bare one", values={one["name"]: one["wall_over_bare"] for one in found}
    )
    return written


def loading(settings: Settings) -> Report:
    """Row 2: from_pretrained, each in fresh processes."""
    import loading as row

    cases = [case for case in row.CASES if not settings.quick or case[1] == "torch"]
    found = row.rows(cases, settings.scratch, 1 if settings.quick else row.REPEATS)
    written = _report("loading", "Loading a ViT-B/32 of 605 MB", row, settings)
    cells = [
        [
            one["name"],
            f"{one['seconds']:.2f} (±{one['spread']:.0%})",
            f"{one['peak'] / _MEGABYTE:.0f} ({one['peak_of_file']:.2f})",
        ]
        for one in found
    ]
    written.tables = [Table(["loading", "s", "peak, MB (of the file)"], cells)]
    written.measurements = found
    named = {one["name"]: one for one in found}
    pairs = zip(*(named[f"{who} in torch"]["times"] for who in ("clip-zoo", "safetensors")), strict=True)
    ratio = Ratio(tuple(own / bare for own, bare in pairs))
    written.goals = [at_most("clip-zoo in torch over `load_file` and the bare module", ratio, 1.3)]
    ours = [one for one in found if one["name"].startswith("clip-zoo")]
    written.goals += [at_most(f"Peak of {one['name']}, of the file", one["peak_of_file"], 1.1) for one in ours]
    values = {_ours_first(one["name"]): one["seconds"] for one in found}
    written.plot = partial(bars, title="Loading 605 MB", across="s", values=values)
    return written


def preprocessing(settings: Settings) -> Report:
    """Row 3: pictures to pixel values."""
    import preprocessing as row
    from checkpoints import TINY

    from clip_core.configuration import CLIPConfig

    sizes = row.SIZES[:1] if settings.quick else row.SIZES
    found = [comparison for size in sizes for comparison in row.size_rows(*size)]
    found += row.stream_rows(settings.scratch, CLIPConfig(**TINY) if settings.quick else CLIPConfig())
    written = _report("preprocessing", "Pictures to pixel values", row, settings)
    written.tables = [Table(["pictures", *COLUMNS], [one.cells() for one in found])]
    written.measurements = [one.record() for one in found]
    alone = {one.name: one.ratio.median for one in found if one.peer == row.PILLOW_ALONE}
    written.goals = [goal for one in found for goal in _picture_goals(one, alone.get(one.name))]
    values = {f"{one.name}, {one.peer}": one.ratio.median for one in found}
    written.plot = partial(bars, title="Pictures", across="times as fast as the peer", values=values, line=1.0)
    return written


def texts(settings: Settings) -> Report:
    """Row 4: text features."""
    import texts as row
    from checkpoints import TINY, write_random

    from clip_core.configuration import CLIPConfig

    folder = settings.scratch / "texts"
    write_random(folder, CLIPConfig(**TINY) if settings.quick else CLIPConfig())
    found = [*row.feature_rows(folder), row.stream_row(folder)]
    written = _report("texts", "Text features", row, settings)
    written.tables = [Table(["texts", *COLUMNS], [one.cells() for one in found])]
    written.measurements = [one.record() for one in found]
    for one in found:
        limit = 3.0 if "padded to 77" in one.name else 1.5
        # A single text has no mixture of lengths to gain from.
        if not (one.name.startswith("1 ") and limit == 1.5):
            written.goals.append(_times_as_fast(one, limit, row.WHY_ONE if one.name.startswith("1 ") else ""))
    values = {one.name: one.ratio.median for one in found}
    written.plot = partial(bars, title="Texts", across=f"times as fast as {row.PEER}", values=values, line=1.0)
    return written


def labels(settings: Settings) -> Report:
    """Row 6: many labels in many templates, and again from the cache."""
    import texts as row
    from checkpoints import TINY, write_random

    from clip_core.configuration import CLIPConfig

    folder = settings.scratch / "labels"
    write_random(folder, CLIPConfig(**TINY) if settings.quick else CLIPConfig())
    line = row.label_line(folder, *((20, 4) if settings.quick else (1000, 80)))
    written = _report("labels", "Zero-shot with many labels", row, settings)
    written.description = (
        "Every label in every template is embedded as one streamed job, in PyTorch, with random weights of ViT-B/32's "
        "size; the second time the embeddings are found by their content."
    )
    written.tables = []
    written.notes = [line]
    written.measurements = [{"told": line}]
    return written


def conversion(settings: Settings) -> Report:
    """Row 7: converting checkpoints, each in a fresh process."""
    import conversion as row
    from checkpoints import TINY

    from clip_core.configuration import CLIPConfig

    fields: dict[str, Any] = TINY if settings.quick else {}
    layers = {tower: fields.get(tower, {}) | {"num_hidden_layers": 48} for tower in ("text_config", "vision_config")}
    compared = row.compared(settings.scratch, CLIPConfig(**fields), 1 if settings.quick else row.REPEATS)
    large = row.in_shards(settings.scratch, CLIPConfig(**fields | layers), "2MB" if settings.quick else "500MB")
    written = _report("conversion", "Converting checkpoints", row, settings)
    written.tables = [Table(row.COLUMNS, [one.cells() for one in (*compared, *large)])]
    written.measurements = [
        {"to": one.to, "bytes": one.size, "ours": one.ours.runs, "transformers": one.peer.runs if one.peer else None}
        for one in (*compared, *large)
    ]
    written.goals = _conversion_goals(compared, large)
    values = {f"to {one.to}": one.peer.seconds / one.ours.seconds for one in compared}
    written.plot = partial(bars, title="Converting", across="times as fast as transformers", values=values, line=5.0)
    return written


def _by_workers(module: str) -> Callable[[Settings], Report]:
    """A row whose file makes the report."""

    def report(settings: Settings) -> Report:
        made: Report = import_module(module).report(settings)
        return made

    return report


ROWS: dict[int, Callable[[Settings], Report]] = {
    1: start,
    2: loading,
    3: preprocessing,
    4: texts,
    5: _by_workers("forward"),
    6: labels,
    7: conversion,
    8: _by_workers("gpu"),
    9: _by_workers("growth"),
    10: _by_workers("precision"),
}
CPU_ROWS = tuple(number for number in ROWS if number != 8)


def _report(name: str, title: str, module: Any, settings: Settings) -> Report:
    return Report(name, title, module.__doc__ or "", quick=settings.quick)


def _times_as_fast(row: Row, limit: float, why: str = "") -> Goal:
    return at_least(f"{row.name}: times as fast as {row.peer}", row.ratio, limit, why=why)


def _picture_goals(row: Row, alone: float | None) -> list[Goal]:
    """Twice as fast as the slow way on one thread; no slower than the fast one on two."""
    if row.peer == "transformers, slow" and "JPEG" not in row.name:
        why = "" if alone is None else f"Pillow's resizing alone takes {alone:.2f} of our time"
        return [_times_as_fast(row, 2.0, why)]
    if "2 thread" in row.name and row.peer.startswith(("transformers, fast", "torch")):
        return [_times_as_fast(row, 1.0)]
    return []


def _conversion_goals(compared: list[Any], large: list[Any]) -> list[Goal]:
    faster = [
        at_least(f"To {one.to}: times as fast as transformers", one.peer.seconds / one.ours.seconds, 5.0)
        for one in compared
        if one.to != "torch"
    ]
    lean = [at_most(f"To {one.to}: peak memory of the size", one.ours.peak / one.size, 1.5) for one in compared]
    flat = [
        at_most(
            f"To {big.to}, {big.size / one.size:.1f} times as large: peak memory", big.ours.peak / one.ours.peak, 1.1
        )
        for one, big in zip(compared, large, strict=True)
    ]
    return [*faster, *lean, *flat]


def _ours_first(name: str) -> str:
    return name.replace("clip-zoo", "ours")
