"""Which column of a table holds the pictures, and which the captions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE_COLUMNS = ("file_name",)
IMAGE_COLUMNS = ("image", "img", "jpg", "png", "webp", "image_bytes")
CAPTION_COLUMNS = ("text", "caption", "captions", "txt")


def image_column(there: Iterable[str], given: str | None, usual: tuple[str, ...], where: str) -> str:
    """The column of the pictures: the one given, or the first of the usual names that is there.

    Args:
        there: the table's columns.
        given: the caller's choice, if any.
        usual: names to look for.
        where: the table, for messages.

    Raises:
        ValueError: the column is not there; the message says which are.
    """
    return _column(there, given, usual, where, "image")


def caption_column(there: Iterable[str], given: str | None, where: str) -> str:
    """The column of the captions; see `image_column`."""
    return _column(there, given, CAPTION_COLUMNS, where, "caption")


def class_names(feature: Any) -> list[str]:
    """The names that the numbers in a column stand for; none where it is no column of classes.

    Args:
        feature: a `datasets.ClassLabel`, or how it is written down in a file; or anything else.
    """
    names = feature.get("names") if isinstance(feature, Mapping) else getattr(feature, "names", None)
    return list(names) if isinstance(names, (list, tuple)) else []


def named(value: Any, names: list[str]) -> Any:
    """The name of a class in place of its number; what is no number of a class stays as it is."""
    is_class = isinstance(value, int) and 0 <= value < len(names)
    return names[value] if is_class else value


def _column(there: Iterable[str], given: str | None, usual: tuple[str, ...], where: str, role: str) -> str:
    columns = list(there)
    found = next((name for name in ([given] if given is not None else usual) if name in columns), None)
    if found is None:
        wanted = repr(given) if given is not None else " or ".join(map(repr, usual))
        has = ", ".join(map(repr, columns)) or "none"
        raise ValueError(f"{where}: no column {wanted} for the {role}; it has {has}. Pass {role}_column=...")
    return found
