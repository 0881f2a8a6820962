"""Emoji catalogue: names, keywords, captions, and the locations of each vendor's drawings."""

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
        name: its Unicode name, such as "grinning face".
        keywords: further search terms.
    """

    code: str
    name: str
    keywords: tuple[str, ...]


def code_of(text: str) -> str:
    """Return code points in hexadecimal, normalized across vendors: no leading zeros, no colour variation selector."""
    return "-".join(part.lstrip("0") for part in text.lower().split("-") if part != "fe0f")


def read_names(path: Path) -> list[Emoji]:
    """Read the emoji of emojibase's data.json, without the flags' letters, which belong to no group."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [Emoji(code_of(row["hexcode"]), row["label"], tuple(row.get("tags", ()))) for row in rows if "group" in row]


def find_drawings(folder: Path) -> dict[str, Path]:
    """Return a vendor's images, by emoji code."""
    return {code_of(path.stem): path for path in sorted(folder.iterdir()) if path.suffix in _ENDINGS}


def drawn_by_all(emoji: Sequence[Emoji], vendors: Sequence[dict[str, Path]]) -> list[Emoji]:
    """Return the emoji that every vendor has an image of.

    Raises:
        ValueError: if there are none.
    """
    common = [one for one in emoji if all(one.code in drawings for drawings in vendors)]
    if not common:
        raise ValueError("no emoji is drawn by all vendors; are these the packages' image folders?")
    return common


def captions(emoji: Emoji, random: np.random.Generator) -> list[str]:
    """Return training captions for an image, the name repeated most, with randomly chosen keywords."""
    name = TEMPLATE.format(emoji.name)
    others = [word for word in emoji.keywords if word.lower() not in emoji.name.lower()]
    if not others:
        return [name, name, emoji.name]
    chosen = ", ".join(random.permutation(others)[:_MOST_KEYWORDS].tolist())
    return [name, name, emoji.name, f"{name}: {chosen}"]
