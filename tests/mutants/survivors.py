"""Mutants that affect no number, with the reason for each."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

LIST = Path(__file__).with_name("survivors.toml")


def rows() -> list[dict[str, str]]:
    """Return the rows of the list: patterns of `file`, `function` and `change`, and the `reason`."""
    found: list[dict[str, str]] = tomllib.loads(LIST.read_text(encoding="utf-8"))["survivor"]
    return found


def reason_for(file: str, function: str, change: str) -> str | None:
    """Return the reason why a mutant changes no number; None if no row matches it."""
    own = {"file": file, "function": function, "change": change}
    for row in rows():
        if all(fnmatchcase(own[key], row.get(key, "*").replace("[", "[[]")) for key in own):
            return row["reason"]
    return None
