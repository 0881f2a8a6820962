"""Mutants that affect no number, with the reason for each."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mutants.mutations import Mutation

LIST = Path(__file__).with_name("survivors.toml")


def rows() -> list[dict[str, str]]:
    """Return the rows of the list: patterns of `file`, `function`, `code` and `change`, and the `reason`."""
    found: list[dict[str, str]] = tomllib.loads(LIST.read_text(encoding="utf-8"))["survivor"]
    return found


def matches(row: dict[str, str], file: str, mutation: Mutation) -> bool:
    """Return True if a row of the list matches a mutation of a file, such as "text"."""
    own = {"file": file, "function": mutation.function, "code": mutation.code, "change": mutation.change}
    return all(fnmatchcase(own[key], row.get(key, "*").replace("[", "[[]")) for key in own)


def reason_for(file: str, mutation: Mutation) -> str | None:
    """Return the reason why a mutant changes no number; None if no row matches it."""
    return next((row["reason"] for row in rows() if matches(row, file, mutation)), None)
