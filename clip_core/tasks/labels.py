"""Label files, and a cache of label embeddings by content: the text tower's weights and the tokens.

The key depends on nothing else: a model trained further, a tokenizer with other tokens and another template each have
another key. A cached file is validated before use.
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
from clip_core.hub.pointers import check_not_lfs_pointer
from clip_core.hub.targets import check_folder

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable


@dataclass(frozen=True)
class LabelFile:
    """The content of a label file.

    Attributes:
        names: the labels, in file order.
        label_of: for a JSON object, the label of each key, such as a file name; otherwise empty.
    """

    names: list[str] = field(default_factory=list)
    label_of: dict[str, str] = field(default_factory=dict)


def read_labels(path: Path) -> LabelFile:
    """Read a text file with one label per line, a JSON list of labels, or a JSON object with labels as values.

    Args:
        path: the file; JSON if it ends in .json.

    Returns:
        The labels and, if the file states them, the true labels by file name.

    Raises:
        ValueError: if the file is missing, has another form, or holds no label or an empty one. The message names it.
    """
    if not path.is_file():
        raise ValueError(f"{path}: {'a folder; give a file' if path.is_dir() else 'no such file'}")
    found = _read_json(path) if path.suffix.lower() == ".json" else LabelFile(_lines(path))
    if not found.names:
        raise ValueError(f"{path}: it contains no labels; give at least one")
    if not all(name.strip() for name in found.names):
        raise ValueError(f"{path}: one of its labels is empty; remove it")
    return found


def _read_json(path: Path) -> LabelFile:
    content = read_json(path, _LARGEST)
    label_of = content if isinstance(content, dict) else {}
    names = list(label_of.values()) if isinstance(content, dict) else content
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path}: expected a JSON list of labels, or an object from file name to label")
    return LabelFile(names, label_of)


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in _read_text(path).splitlines() if line.strip()]


def _read_text(path: Path) -> str:
    check_not_lfs_pointer(path)
    try:
        return path.read_text(encoding="utf-8-sig")  # Windows editors write a byte order mark first
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text; save it as UTF-8") from error


_LARGEST = 2**30  # bytes of the user's own labels, of any number of images
_KEPT = 8  # label sets held in memory
_NORM_TOLERANCE = 1e-2  # allows for rounding in bfloat16


class LabelCache:
    """A cache of embedding arrays by key: the most recent in memory and, given a folder, all of them on disk.

    Args:
        folder: the cache folder, created if missing; None for memory only.

    Raises:
        NotADirectoryError: if the folder or one of its parents is a file.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        if self.folder is not None:
            check_folder("label_cache", self.folder)
        self._cached: OrderedDict[str, np.ndarray] = OrderedDict()

    def get(self, key: str, count: int, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the cached embeddings of a key, or compute and cache them: `(count, projection)`.

        A damaged file causes a warning and is replaced.

        Args:
            key: a return value of `label_key`.
            count: number of labels.
            compute: returns the embeddings.
        """
        found = self._cached.pop(key, None)
        if found is None:
            found = self._read(key, count)
        if found is None:
            found = compute()
            if not _of_unit_norm(found):  # the model is broken; a later read would reject these
                return found
            self._write(key, found)
        self._cached[key] = found
        while len(self._cached) > _KEPT:
            self._cached.popitem(last=False)
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
            warnings.warn(f"{path} is damaged ({reason}); the embeddings are recomputed", stacklevel=4)
            return None

    def _write(self, key: str, embeds: np.ndarray) -> None:
        path = self._path(key)
        if path is None:
            return
        try:
            with staged(path.parent) as staging:
                np.savez(staging / path.name, key=np.array(key), embeds=embeds)
        except OSError as error:  # a failing cache must not lose the result
            warnings.warn(f"the embeddings could not be cached in {path}: {error}", stacklevel=4)


def _checked(path: Path, key: str, count: int) -> np.ndarray:
    if not zipfile.is_zipfile(path):  # otherwise numpy returns an array, or advises to load the file unsafely
        raise ValueError("it is not an .npz file")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
        kept_key, embeds = str(content["key"]), content["embeds"]
    if kept_key != key:
        raise ValueError("its key does not match")
    if embeds.dtype != np.float32 or embeds.ndim != 2 or len(embeds) != count:
        raise ValueError(f"it contains {embeds.dtype} {embeds.shape}; expected {count} float32 embeddings")
    if not _of_unit_norm(embeds):
        raise ValueError("its embeddings are not of unit norm")
    checked: np.ndarray = embeds
    return checked


def _of_unit_norm(embeds: np.ndarray) -> bool:
    return bool((np.abs(np.linalg.norm(embeds, axis=-1) - 1) < _NORM_TOLERANCE).all())


def label_key(fingerprint: str, tokens: Iterable[tuple[np.ndarray, np.ndarray]], templates: int) -> str:
    """Return the cache key of label embeddings.

    Args:
        fingerprint: fingerprint of the model; see `fingerprint`.
        tokens: ids and masks, each `(texts, seq)`, of all labels in all templates.
        templates: number of consecutive texts per label.
    """
    digest = hashlib.sha256(f"{fingerprint} {templates}".encode())
    for input_ids, attention_mask in tokens:
        attended = attention_mask != 0
        digest.update(attended.sum(axis=-1).astype("<i8").tobytes())
        digest.update(input_ids[attended].astype("<i8").tobytes())
    return digest.hexdigest()


def fingerprint(framework: str, config: Any, weights: Iterable[tuple[str, np.ndarray]]) -> str:
    """Return a hash of a text tower, over all of its weights; SHA-256 hashes about 2 GB per second.

    Args:
        framework: the framework and dtype of the computation.
        config: the text tower's configuration.
        weights: weights by name, in a stable order.
    """
    digest = hashlib.sha256(f"{framework} {config.to_json_string()}".encode())
    for name, array in weights:
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
