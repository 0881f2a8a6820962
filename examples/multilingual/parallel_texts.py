"""The files of this example: parallel texts to train on, and images with texts in several languages to test on.

Parallel texts are a text file in UTF-8: on each line a text, a tab, and its translation. Files of translated sentences,
such as those of Tatoeba and OPUS, often have this form. The first text of a line is in the language that the teacher
understands. The table to test on is a file of JSON lines; see `Row`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from clip_core.hub.files import write_text
from clip_core.tokenization.text import CLEANING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Pair(NamedTuple):
    """A text and its translation.

    Attributes:
        source: the text for the teacher.
        translation: the text for the student.
    """

    source: str
    translation: str


class Row(NamedTuple):
    """An image to test on.

    Attributes:
        file_name: its path from the table's folder.
        held_out: True if no text about it was in training.
        texts: a text about it by language, the teacher's language first.
    """

    file_name: str
    held_out: bool
    texts: dict[str, str]


def read_pairs(path: Path) -> list[Pair]:
    """Return the pairs of a file; empty lines are skipped.

    Args:
        path: the file.

    Raises:
        ValueError: if the file is not text, is empty, or a line does not have two texts; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 ({error})") from error
    pairs = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        texts = [text.strip() for text in line.split("\t")]
        if len(texts) != 2 or not all(texts):
            raise ValueError(
                f"{path}, line {number}: expected a text, a tab and its translation; found {sum(map(bool, texts))} "
                f"texts and {len(texts) - 1} tabs"
            )
        pairs.append(Pair(*texts))
    if not pairs:
        raise ValueError(f"{path} contains no pairs; each line should be a text, a tab and its translation")
    return pairs


def write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    """Write a file of pairs.

    Args:
        path: the file.
        pairs: the pairs, without tabs or line breaks in their texts.
    """
    write_text(path, "".join(f"{source}\t{translation}\n" for source, translation in pairs))


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a table to test on.

    Args:
        path: the table.

    Raises:
        ValueError: if it is another file, its rows have different languages, or it has fewer than two rows.
    """
    try:
        rows = [Row(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
        languages = [list(row.texts) for row in rows]
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not a table of images with texts by language ({error!r})") from error
    for number, some in enumerate(languages, 1):
        if some != languages[0]:
            raise ValueError(f"{path}, line {number}: expected texts in {languages[0]}, as in line 1; found {some}")
    if len(rows) < 2:
        raise ValueError(f"{path} has {len(rows)} images; at least two are needed")
    return rows


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a table to test on.

    Args:
        path: the table.
        rows: its rows.
    """
    write_text(path, "".join(f"{json.dumps(row._asdict(), ensure_ascii=False)}\n" for row in rows))


def plain(text: str) -> str:
    """Return a text as a model reads it: in composed characters and lower case, without repeated spaces."""
    return str(CLEANING.normalize_str(text)).strip()
