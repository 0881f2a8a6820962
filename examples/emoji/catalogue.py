"""Emoji: their names and keywords, what is said of them, and where each vendor's drawing of them is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

TEMPLATE = "a picture of {}"

_ENDINGS = (".png", ".webp")
_MOST_KEYWORDS = 4


@dataclass(frozen=True)
class Emoji:
    """One emoji, without variants by skin tone.

    Attributes:
        code: see `code_of`.
        name: as Unicode has it, such as "grinning face".
        keywords: what else it is looked for by.
    """

    code: str
    name: str
    keywords: tuple[str, ...]


def code_of(text: str) -> str:
    """Code points in hexadecimal as all vendors have them once leading zeros and the sign for "in colour" are gone."""
    return "-".join(part.lstrip("0") for part in text.lower().split("-") if part != "fe0f")


def read_names(path: Path) -> list[Emoji]:
    """The emoji of emojibase's data.json, without the letters that flags are made of, which are in no group."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [Emoji(code_of(row["hexcode"]), row["label"], tuple(row.get("tags", ()))) for row in rows if "group" in row]


def find_drawings(folder: Path) -> dict[str, Path]:
    """A vendor's pictures, by the emoji's code."""
    return {code_of(path.stem): path for path in sorted(folder.iterdir()) if path.suffix in _ENDINGS}


def drawn_by_all(emoji: Sequence[Emoji], vendors: Sequence[dict[str, Path]]) -> list[Emoji]:
    """The emoji that each vendor has a picture of.

    Raises:
        ValueError: there are none.
    """
    common = [one for one in emoji if all(one.code in drawings for drawings in vendors)]
    if not common:
        raise ValueError("no emoji is drawn by all vendors; are these the packages' folders of pictures?")
    return common


def captions(emoji: Emoji, random: np.random.Generator) -> list[str]:
    """What training may say of a picture, the name more often than the rest; chance picks the keywords."""
    name = TEMPLATE.format(emoji.name)
    others = [word for word in emoji.keywords if word.lower() not in emoji.name.lower()]
    if not others:
        return [name, name, emoji.name]
    chosen = ", ".join(random.permutation(others)[:_MOST_KEYWORDS].tolist())
    return [name, name, emoji.name, f"{name}: {chosen}"]
