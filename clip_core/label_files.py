"""Files that hold labels: one a line, a JSON list, or a JSON object."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clip_core.files import read_json

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class LabelFile:
    """What a file of labels says.

    Attributes:
        names: the labels, in the file's order.
        label_of: where the file is a JSON object, the label of each of its keys, such as file names.
    """

    names: list[str] = field(default_factory=list)
    label_of: dict[str, str] = field(default_factory=dict)


def read_labels(path: Path) -> LabelFile:
    """Read a text file with a label a line, a JSON list of labels, or a JSON object with labels as its values.

    Raises:
        ValueError: it is not there, or something else; the message names it.
    """
    if not path.is_file():
        raise ValueError(f"--labels-file {path}: no such file")
    if path.suffix.lower() != ".json":
        return LabelFile([line.strip() for line in _read_text(path).splitlines() if line.strip()])
    content = read_json(path)
    label_of = content if isinstance(content, dict) else {}
    names = list(label_of.values()) if label_of else content
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"--labels-file {path}: a JSON list of labels is wanted, or an object from file name to label")
    return LabelFile(names, label_of)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # editors on Windows put a mark before the first label
    except UnicodeDecodeError as error:
        raise ValueError(f"--labels-file {path}: not a text file in UTF-8; save it as one") from error
