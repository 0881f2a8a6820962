"""Bringing an index up to date: the files that are new, changed and gone since the last run, and encoding them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clip_core.hub.targets import expanded
from clip_core.images.inputs import find_images
from clip_core.tasks.images import encode_image_batches
from clip_core.tasks.search.filters import folder_range, stored_path
from clip_core.tasks.search.identity import check_facts
from clip_core.tasks.search.reading import FileReader, hash_of_file, read_caption, time_of_change
from clip_core.tasks.texts import NotFiniteError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clip_core.tasks.embedding.dataset import EmbeddedDataset
    from clip_core.tasks.search.rows import IndexedImage
    from clip_core.tasks.search.store import SqliteStore
    from clip_core.tasks.zero_shot import ZeroShotClassifier

# The facts of a dataset that an index keeps.
_OF_THE_MODEL = ("model", "backend", "dtype", "versions", "preprocessing", "fingerprint")
_COMMIT_AFTER = 1.0  # seconds: a crash loses the work since then, and a commit waits for the disk


@dataclass
class UpdatePlan:
    """The work that brings an index up to date.

    Attributes:
        new: files to encode that the index lacks.
        changed: files to encode that have another content than the index.
        touched: rows of files with the same content, and another time or caption.
        gone: stored paths of deleted files.
        unchanged: the number of files that need nothing.
    """

    new: list[Path] = field(default_factory=list)
    changed: list[Path] = field(default_factory=list)
    touched: list[IndexedImage] = field(default_factory=list)
    gone: list[bytes] = field(default_factory=list)
    unchanged: int = 0


@dataclass
class IndexChanges:
    """The result of adding images to an index.

    Attributes:
        added: the number of new images.
        changed: the number of images encoded again, as their files changed.
        removed: the number of images removed, as their files are gone or broken.
        unchanged: the number of images that were up to date.
        broken: the error for each file that could not be read.
    """

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    broken: dict[Path, str] = field(default_factory=dict)


def make_plan(store: SqliteStore, sources: Sequence[str | os.PathLike[str]], *, captions: bool) -> UpdatePlan:
    """Compare files with an index.

    Size and time decide that a file is unchanged; if only the time differs, the content decides.

    Args:
        store: the store of the index.
        sources: image files, folders and globs.
        captions: also compare the texts beside the images.

    Raises:
        ImageFileError: if a source is missing or contains no images, so that an unmounted folder removes nothing.
    """
    plan, seen = UpdatePlan(), set()
    for source in sources:
        path = expanded(source)
        found = [Path(os.fsdecode(stored_path(image))) for image in find_images(os.fspath(source))]
        is_folder = path.is_dir()
        known = {row.path: row for row in store.rows(*folder_range(path))} if is_folder else {}
        for image in found:
            key = os.fsencode(image)
            if key not in seen:
                seen.add(key)
                row = known.get(key) if is_folder else next(iter(store.rows(key, key + b"\0")), None)
                _sort(plan, image, row, captions=captions)
        plan.gone += [key for key in known if key not in seen and _is_gone(key)]
    return plan


def _is_gone(path: bytes) -> bool:
    """Return False for a file in a subfolder that may not be read, which is not found but still there."""
    try:
        os.stat(path)  # noqa: PTH116  of bytes
    except PermissionError:
        return False
    except OSError:
        return True
    return True


def _sort(plan: UpdatePlan, path: Path, row: IndexedImage | None, *, captions: bool) -> None:
    """Add a file to the part of the plan that it belongs to."""
    if row is None:
        plan.new.append(path)
        return
    try:
        status = path.stat()
        is_same = status.st_size == row.size
        if is_same and time_of_change(status) != row.changed:
            is_same = hash_of_file(path) == row.file
    except OSError:  # it is read again later, and reported then
        is_same = False
    if not is_same:
        plan.changed.append(path)
        return
    caption = read_caption(path) if captions else row.caption
    now = row._replace(changed=time_of_change(status), caption=caption)
    if now == row:
        plan.unchanged += 1
    else:
        plan.touched.append(now)


def apply_plan(
    plan: UpdatePlan,
    store: SqliteStore,
    model: ZeroShotClassifier | None,
    *,
    captions: bool,
    batch_size: int,
    num_threads: int | None,
    on_commit: Callable[[list[Path]], object] | None,
    on_error: Callable[[Path, ValueError], object] | None,
) -> IndexChanges:
    """Do the work of a plan. The arguments are those of `ImageIndex.add`, except for these.

    Args:
        plan: the plan.
        store: the store of the index.
        model: the model of the index; None if the plan has no files to encode.
        captions: also store the texts beside the images.
        batch_size: images to encode at a time.
        num_threads: threads that read and preprocess.
        on_commit: called with the files that are stored permanently.
        on_error: called with a broken file and its error.
    """
    changes = IndexChanges(unchanged=plan.unchanged + len(plan.touched))
    changes.removed = store.delete(plan.gone)
    store.touch(plan.touched)
    paths = [*plan.new, *plan.changed]

    def skip(place: int, error: ValueError) -> None:
        message = str(error).removeprefix(f"images[{place}]: ")
        if isinstance(error, NotFiniteError):  # those of reading name the file
            message = f"{paths[place]}: {message}"
        changes.broken[paths[place]] = message
        if on_error is not None:
            on_error(paths[place], ValueError(message))

    if model is not None:
        pending = _Pending(store, on_commit)
        reader = FileReader(model.processor, captions=captions)
        for batch in encode_image_batches(
            model.encoder,
            reader,  # type: ignore[arg-type]  # called like a processor
            paths,
            batch_size=batch_size,
            num_threads=num_threads,
            on_error=skip,
        ):
            pending.add([(paths[place], reader.row_of(paths[place])) for place in batch.places], batch.embeds)
        pending.commit()
    changed = set(plan.changed)
    stale = [os.fsencode(path) for path in changes.broken if path in changed]
    changes.added = len(plan.new) + len(stale) - len(changes.broken)
    changes.changed = len(plan.changed) - len(stale)
    changes.removed += store.delete(stale)
    store.compact()
    return changes


def add_dataset(
    store: SqliteStore, dataset: EmbeddedDataset, on_commit: Callable[[int], object] | None = None
) -> IndexChanges:
    """Add the images of a dataset to an index, except those that it already has.

    Args:
        store: the store of the index.
        dataset: the dataset.
        on_commit: called after each batch with the number of its images, all of which are now stored permanently.

    Returns:
        The changes.

    Raises:
        OtherModelError: if the dataset was made with another model than the index.
        ValueError: if a part of the dataset is damaged.
    """
    facts = store.facts()
    if "fingerprint" in facts:
        told = f"the dataset was made with {dataset.facts['model']}, and the index with {facts['model']}"
        check_facts(dataset.facts, facts, told, "index")
    else:
        store.set_facts(**{name: dataset.facts[name] for name in _OF_THE_MODEL})
    changes, is_new = IndexChanges(), len(store) == 0
    for rows, embeds in dataset.batches():
        # Looked up one by one: the images of a part are not in the order of their paths.
        paths = () if is_new else [row.path for row in rows]
        known = {path: one.file for path in paths for one in store.rows(path, path + b"\0")}
        places = [place for place, row in enumerate(rows) if known.get(row.path) != row.file]
        store.add([rows[place] for place in places], embeds[places])
        changed = sum(rows[place].path in known for place in places)
        changes.changed += changed
        changes.added += len(places) - changed
        changes.unchanged += len(rows) - len(places)
        if on_commit is not None:
            on_commit(len(rows))
    store.compact()
    return changes


class _Pending:
    """Encoded images that are not stored yet.

    Args:
        store: the store.
        on_commit: called with the files that are stored.
    """

    def __init__(self, store: SqliteStore, on_commit: Callable[[list[Path]], object] | None) -> None:
        self._store = store
        self._on_commit = on_commit
        self._rows: list[tuple[Path, IndexedImage]] = []
        self._embeds: list[np.ndarray] = []
        self._since = time.monotonic()

    def add(self, rows: list[tuple[Path, IndexedImage]], embeds: np.ndarray) -> None:
        self._rows += rows
        self._embeds.append(embeds)
        if time.monotonic() - self._since >= _COMMIT_AFTER:
            self.commit()

    def commit(self) -> None:
        if self._rows:
            self._store.add([row for _, row in self._rows], np.concatenate(self._embeds))
            if self._on_commit is not None:
                self._on_commit([path for path, _ in self._rows])
        self._rows, self._embeds, self._since = [], [], time.monotonic()
