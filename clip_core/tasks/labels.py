"""Files of labels, and their embeddings, cached by what they come from: the text tower's weights, and the tokens.

Nothing else decides: a model that was trained on, a tokenizer with other tokens or another template has another key,
and a file in the cache is validated before use.
"""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.hub.files import read_json, staged

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable


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


_KEPT = 8  # sets of labels in memory
_NORM_TOLERANCE = 1e-2  # of embeddings in bfloat16, whose norm is one but for rounding


class LabelCache:
    """Arrays of embeddings by key: in memory the last few, and with a folder on disk all.

    Args:
        folder: where to keep them; made where it is missing. None for memory alone.

    Raises:
        NotADirectoryError: the folder is a file.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        if self.folder is not None and self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(f"label_cache={str(folder)!r} is a file; give a folder")
        self._kept: OrderedDict[str, np.ndarray] = OrderedDict()

    def get(self, key: str, count: int, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """The embeddings of a key, or where there are none, those that `compute` returns: `(count, projection)`.

        A file that cannot be what was kept is named in a warning, and replaced.
        """
        found = self._kept.pop(key, None)
        if found is None:
            found = self._read(key, count)
        if found is None:
            found = compute()
            if not _of_unit_norm(found):  # a broken model's; what is kept is what can be checked
                return found
            self._write(key, found)
        self._kept[key] = found
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found

    def _path(self, key: str) -> Path | None:
        return None if self.folder is None else self.folder / f"labels-{key}.npz"

    def _read(self, key: str, count: int) -> np.ndarray | None:
        path = self._path(key)
        if path is None or not path.exists():
            return None
        try:
            return _checked(path, key, count)
        except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile) as error:
            reason = str(error) or type(error).__name__
            warnings.warn(f"{path} is damaged ({reason}); the embeddings are computed anew", stacklevel=4)
            return None

    def _write(self, key: str, embeds: np.ndarray) -> None:
        path = self._path(key)
        if path is None:
            return
        try:
            with staged(path.parent) as staging:
                np.savez(staging / path.name, key=np.array(key), embeds=embeds)
        except OSError as error:  # what was computed is worth more than its copy
            warnings.warn(f"the embeddings could not be kept in {path}: {error}", stacklevel=4)


def _checked(path: Path, key: str, count: int) -> np.ndarray:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
        kept_key, embeds = str(content["key"]), content["embeds"]
    if kept_key != key:
        raise ValueError("it was kept under another name")
    if embeds.dtype != np.float32 or embeds.ndim != 2 or len(embeds) != count:
        raise ValueError(f"it holds {embeds.dtype} {embeds.shape}, and not {count} embeddings in float32")
    if not _of_unit_norm(embeds):
        raise ValueError("its embeddings are not of unit norm")
    checked: np.ndarray = embeds
    return checked


def _of_unit_norm(embeds: np.ndarray) -> bool:
    return bool((np.abs(np.linalg.norm(embeds, axis=-1) - 1) < _NORM_TOLERANCE).all())


def label_key(fingerprint: str, tokens: Iterable[tuple[np.ndarray, np.ndarray]], templates: int) -> str:
    """The key of the labels' embeddings.

    Args:
        fingerprint: of the model, see below.
        tokens: ids and mask, `(texts, seq)` each, of all labels in all templates.
        templates: how many texts in a row belong to one label.
    """
    digest = hashlib.sha256(f"{fingerprint} {templates}".encode())
    for input_ids, attention_mask in tokens:
        attended = attention_mask != 0
        digest.update(attended.sum(axis=-1).astype("<i8").tobytes())
        digest.update(input_ids[attended].astype("<i8").tobytes())
    return digest.hexdigest()


def fingerprint(framework: str, config: Any, weights: Iterable[tuple[str, np.ndarray]]) -> str:
    """What tells a text tower from every other: a hash of all its weights, of which SHA-256 takes about 2 GB a second.

    Args:
        framework: what computes, and in which dtype.
        config: the text tower's configuration.
        weights: by name, in an order that stays.
    """
    digest = hashlib.sha256(f"{framework} {config.to_json_string()}".encode())
    for name, array in weights:
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
