"""Benchmark reports, written as JSON with every value and as Markdown for reading."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from goals import from_record
from machine import machine, today, versions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from goals import Goal


@dataclass
class Table:
    """A Markdown table; all columns except the first are right-aligned."""

    columns: list[str]
    rows: list[list[str]]
    title: str = ""

    def __str__(self) -> str:
        heading = [f"### {self.title}", ""] if self.title else []
        rules = ["---", *["---:"] * (len(self.columns) - 1)]
        return "\n".join([*heading, *(f"| {' | '.join(cells)} |" for cells in (self.columns, rules, *self.rows))])


@dataclass
class Report:
    """The report of one row of the benchmarks.

    Attributes:
        name: stem of its file names.
        title: the heading.
        description: the quantity measured and the method.
        tables: the tables to read.
        measurements: every value, for the JSON file.
        goals: the targets.
        notes: caveats, for example why a peer was left out.
        versions: of libraries, by name; those of this environment are included by default.
        plot: draws the plot into a file; None for a row without one.
        quick: True for a quick check that everything runs; its values mean nothing.
    """

    name: str
    title: str
    description: str
    tables: list[Table] = field(default_factory=list)
    measurements: list[dict[str, Any]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=versions)
    plot: Callable[[Path], None] | None = None
    quick: bool = False
    machine: dict[str, str] = field(default_factory=machine)
    date: str = field(default_factory=today)

    def markdown(self) -> str:
        """Return the whole report."""
        parts = [f"# {self.title}", self.description, self._circumstances(), *map(str, self.tables)]
        if self.goals:
            parts.append(self._targets())
        if self.notes:
            parts.append("\n".join(f"- {note}" for note in self.notes))
        if self.plot is not None:
            parts.append(f"![{self.title}]({self.name}.png)")
        return "\n\n".join(parts) + "\n"

    def content(self) -> dict[str, Any]:
        """Return the content of the JSON file."""
        keys = ("name", "title", "description", "date", "quick", "machine", "versions", "measurements", "notes")
        goals = [dataclasses.asdict(goal) | {"reached": goal.reached} for goal in self.goals]
        tables = [dataclasses.asdict(table) for table in self.tables]
        return {key: getattr(self, key) for key in keys} | {"tables": tables, "goals": goals}

    @classmethod
    def read(cls, path: Path) -> Report:
        """Return the report in a JSON file, without its plot."""
        content = json.loads(path.read_text())
        tables = [Table(**table) for table in content.pop("tables")]
        return cls(**content | {"tables": tables, "goals": [from_record(goal) for goal in content["goals"]]})

    def write(self, folder: Path) -> list[Path]:
        """Write `<name>.json`, `<name>.md` and, with a plot, `<name>.png`; return the files."""
        folder.mkdir(parents=True, exist_ok=True)
        stem = folder / self.name
        files = [stem.with_suffix(".json"), stem.with_suffix(".md")]
        _write(files[0], json.dumps(self.content(), indent=2) + "\n")
        _write(files[1], self.markdown())
        if self.plot is not None:
            files.append(stem.with_suffix(".png"))
            self.plot(files[-1])
        return files

    def _targets(self) -> str:
        reached = sum(goal.reached for goal in self.goals)
        close = sum(not goal.reached and goal.is_close for goal in self.goals)
        noise = f"; {close} of the others missed within the noise" if close else ""
        table = Table(["target", "limit", "measured", "result"], [goal.cells() for goal in self.goals])
        return f"### Targets\n\n{reached} of {len(self.goals)} reached{noise}.\n\n{table}"

    def _circumstances(self) -> str:
        used = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        place = "{processor}, {cores} cores, {memory}, {system}, Python {python}".format(**self.machine)
        warning = "**A quick check, with too few turns for its times to mean anything.**\n\n" if self.quick else ""
        return f"{warning}{self.date}; {place}; {used}."


def _write(path: Path, text: str) -> None:
    """Write a file atomically: a run may be interrupted at any time."""
    unfinished = path.with_suffix(path.suffix + ".tmp")
    unfinished.write_text(text)
    unfinished.replace(path)


def milliseconds(seconds: float, spread: float) -> str:
    """Format a median with its spread."""
    return f"{1e3 * seconds:.3g} (±{spread:.0%})" if seconds < 1 else f"{1e3 * seconds:.0f} (±{spread:.0%})"
