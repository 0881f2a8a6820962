"""The store of an index: rows in SQLite, their vectors in a memory-mapped file, and inverted lists if there are many.

A row names the place of its vector. Vectors are on the disk before the transaction that adds their rows, so after a
crash a row has its vector, and vectors without rows are overwritten by the next.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import threading
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.hub.files import check_no_device
from clip_core.hub.targets import check_folder
from clip_core.tasks.search import approximate
from clip_core.tasks.search.approximate import InvertedLists, ListsFile
from clip_core.tasks.search.filters import meeting
from clip_core.tasks.search.rows import AGAIN, FIRST_VECTORS, Found, IndexedImage, parsed_facts
from clip_core.tasks.search.vectors import candidates, check_query, largest, open_vectors, write_vectors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clip_core.tasks.search.filters import Condition

DATABASE = "index.sqlite"
_SECONDS = 60.0  # to wait for another process that writes
_AT_ONCE = 30_000  # placeholders in a statement; SQLite allows 32,766
_BLOCK = 16384  # vectors to copy at a time
_STALE = 0.2  # the share of vectors of deleted rows from which `compact` rewrites the file
_COMPARED = 4  # vectors that the lists find for each row wanted; comparing them corrects the order
_FEWEST = 40  # of them in all

_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS images (
    place INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, changed INTEGER NOT NULL,
    taken TEXT NOT NULL, file BLOB NOT NULL, pixels BLOB NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    caption TEXT
);
CREATE INDEX IF NOT EXISTS images_size ON images (size);
CREATE INDEX IF NOT EXISTS images_taken ON images (taken);
CREATE INDEX IF NOT EXISTS images_file ON images (file);
"""


class SqliteStore:
    """The store; see the module. Takes part in the protocol `Store`.

    Args:
        folder: its folder, created if missing.
        create: create a missing store; otherwise it is an error.

    Raises:
        FileExistsError: if a folder for a new store contains other files.
        FileNotFoundError: if there is no store.
        ValueError: if the store is damaged.
    """

    def __init__(self, folder: str | os.PathLike[str], *, create: bool = False) -> None:
        self.folder = Path(folder)
        self.path = self.folder / DATABASE
        check_no_device(self.path)
        if not create and not self.path.is_file():
            raise FileNotFoundError(f"{self.folder} is not an index; make one with `clip-zoo index FOLDER --out INDEX`")
        if create:
            check_folder("out", self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
        if not self.path.exists() and any(self.folder.iterdir()):
            raise FileExistsError(f"{self.folder} contains other files; give a new folder for the index")
        self._mapped: tuple[str, int, np.ndarray] | None = None
        self._opened: tuple[ListsFile | None, InvertedLists | None] | None = None
        self._lock = threading.RLock()  # threads may share a store; transactions of one connection cannot overlap
        with self._errors_named():
            self._database = sqlite3.connect(self.path, timeout=_SECONDS, isolation_level=None, check_same_thread=False)
            self._database.executescript("PRAGMA synchronous = FULL;" + _TABLES if create else "SELECT 1 FROM images;")
            self._file = self.path.stat()

    def close(self) -> None:
        """Close the files."""
        self._mapped = self._opened = None
        self._database.close()

    def remove_if_empty(self) -> None:
        """Delete the files of the store if it has no rows; a process that has it open is told when it adds some."""
        with self._transaction("BEGIN EXCLUSIVE"):
            if not len(self):
                for path in (self.path, *self.folder.glob("vectors-*")):
                    path.unlink(missing_ok=True)

    def __len__(self) -> int:
        with self._errors_named():
            return int(self._database.execute("SELECT count(*) FROM images").fetchone()[0])

    def facts(self) -> dict[str, Any]:
        """Return what was stored by `set_facts`, by name."""
        with self._errors_named():
            return parsed_facts(self._database.execute("SELECT * FROM facts"), self.path)

    def set_facts(self, **values: Any) -> None:
        """Store values that JSON can write, by name."""
        with self._transaction("BEGIN IMMEDIATE"):
            self._set(**values)

    def rows(self, start: bytes = b"", stop: bytes | None = None) -> list[IndexedImage]:
        """Return the rows in the order of their paths, from `start` up to but without `stop`; None for no end."""
        return [row for _, row in self._rows(start, stop)]

    def paths_of(self, file: bytes) -> list[bytes]:
        """Return the paths of the files with this hash.

        Args:
            file: the hash, as in `IndexedImage.file`.
        """
        with self._errors_named():
            return [path for (path,) in self._database.execute("SELECT path FROM images WHERE file = ?", (file,))]

    def everything(self) -> tuple[list[IndexedImage], np.ndarray, np.ndarray]:
        """Return all rows in the order of their paths, the places of their vectors `(rows,)`, and all vectors.

        The vectors are memory-mapped: `(places, dim)`; those of deleted rows are among them.
        """
        with self._transaction("BEGIN"):
            found = self._rows(b"", None)
            return [row for _, row in found], np.array([place for place, _ in found], np.int64), self._map()

    def _rows(self, start: bytes, stop: bytes | None) -> list[tuple[int, IndexedImage]]:
        with self._errors_named():
            found = self._database.execute(
                "SELECT * FROM images WHERE path >= ? AND (? IS NULL OR path < ?) ORDER BY path", (start, stop, stop)
            )
            return [(place, IndexedImage(*values)) for place, *values in found]

    def add(self, rows: Sequence[IndexedImage], vectors: np.ndarray) -> None:
        """Add rows; a row with the path of an earlier one replaces it."""
        if not rows:
            return
        with self._transaction("BEGIN IMMEDIATE"):
            facts = self._some_facts()
            if facts.setdefault("dim", vectors.shape[1]) != vectors.shape[1]:
                raise ValueError(f"{self.folder} has vectors of {facts['dim']} values, not {vectors.shape[1]}")
            name, start = facts.get("vectors", FIRST_VECTORS), facts.get("end", 0)
            write_vectors(self.folder / name, start, vectors)
            self._database.executemany(
                "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(start + offset, *row) for offset, row in enumerate(rows)],
            )
            self._set(dim=facts["dim"], vectors=name, end=start + len(rows))

    def touch(self, rows: Sequence[IndexedImage]) -> None:
        """Update the size, time and caption of rows, whose files have the same content."""
        with self._transaction("BEGIN IMMEDIATE"):
            values = [(row.size, row.changed, row.caption, row.path) for row in rows]
            self._database.executemany("UPDATE images SET size = ?, changed = ?, caption = ? WHERE path = ?", values)

    def delete(self, paths: Sequence[bytes]) -> int:
        """Delete the rows of these paths; return the number of rows deleted."""
        before = self._database.total_changes
        with self._transaction("BEGIN IMMEDIATE"):
            self._database.executemany("DELETE FROM images WHERE path = ?", [(path,) for path in paths])
            return self._database.total_changes - before

    def search(
        self, query: np.ndarray, count: int, where: Sequence[Condition] = (), *, exact: bool = False
    ) -> list[Found]:
        """Return the rows most similar to a query, best first."""
        query, wanted = np.asarray(query, np.float32), max(_COMPARED * count, _FEWEST)
        with self._transaction("BEGIN"):
            vectors = self._map()
            if not len(vectors):
                return []
            check_query(query, vectors)
            allowed = meeting(self._database, where, len(vectors)) if where else None
            lists = None if exact else self._lists(vectors)
            while True:
                near = lists.nearest(query, wanted, allowed) if lists is not None else None
                if lists is not None and near is not None:
                    near = np.concatenate([np.sort(near), np.arange(lists.count, len(vectors))])
                places, scores = candidates(vectors, query, near, allowed)
                best, rows = self._live(places, scores, count)
                if near is None or len(rows) >= count:
                    break
                wanted *= _COMPARED  # the nearest are deleted
        found = [(place, score) for place, score in zip(places[best], scores[best], strict=True) if int(place) in rows]
        return [Found(rows[int(place)], np.array(vectors[place]), float(score)) for place, score in found[:count]]

    def _live(self, places: np.ndarray, scores: np.ndarray, count: int) -> tuple[np.ndarray, dict[int, IndexedImage]]:
        """Return the best candidates, and the rows of those that have one.

        Deleted rows keep their vectors until `compact`, so some of the nearest may be gone.
        """
        wanted = count
        while True:
            best = largest(scores, wanted)
            rows = self._at(places[best])
            if len(rows) >= count or wanted >= len(scores):
                return best, rows
            wanted = 2 * wanted

    def compact(self) -> None:
        """Reclaim the space of deleted rows, and bring the inverted lists of a large store up to date."""
        with self._transaction("BEGIN IMMEDIATE"):
            facts = self._some_facts()
            if "vectors" not in facts:
                return
            live = np.array(self._database.execute("SELECT place FROM images ORDER BY place").fetchall(), np.int64)
            if facts["end"] - len(live) > _STALE * facts["end"]:
                self._rewrite(facts, live.reshape(-1))
        self._update_lists()
        with self._transaction("BEGIN IMMEDIATE"):
            self._remove_old()

    def _rewrite(self, facts: dict[str, Any], live: np.ndarray) -> None:
        vectors = open_vectors(self.folder / facts["vectors"], facts["end"], facts["dim"])
        number = int(facts["vectors"].removeprefix("vectors-").removesuffix(".f32")) + 1
        path = self.folder / f"vectors-{number}.f32"
        path.unlink(missing_ok=True)  # of an interrupted rewrite
        for start in range(0, len(live), _BLOCK):
            write_vectors(path, start, vectors[live[start : start + _BLOCK]])
        # Through negative places, since a new one may be another row's old one.
        pairs = [(-1 - new, int(old)) for new, old in enumerate(live)]
        self._database.executemany("UPDATE images SET place = ? WHERE place = ?", pairs)
        self._database.execute("UPDATE images SET place = -1 - place")
        self._set(vectors=path.name, end=len(live), lists=None)

    def _update_lists(self) -> None:
        """Make or extend the lists; meanwhile, others may read and add rows."""
        with self._transaction("BEGIN"):
            vectors, facts = self._map(), self._some_facts()
        if len(vectors) < approximate.WORTH:
            return
        file = approximate.updated(self.folder, facts["vectors"], vectors, ListsFile.of(facts))
        with self._transaction("BEGIN IMMEDIATE"):
            # Another process may have moved the vectors, or removed the new file as one of an interrupted run.
            is_current = facts["vectors"] == self._some_facts()["vectors"]
            if file is not None and is_current and (self.folder / file.name).exists():
                self._set(lists=asdict(file))

    def _remove_old(self) -> None:
        """Remove the files that the database does not name: rewritten ones, and those of interrupted runs."""
        facts = self._some_facts()
        file = ListsFile.of(facts)
        for path in [*self.folder.glob("vectors-*"), *self.folder.glob("lists-*")]:
            if path.name not in {facts["vectors"], file and file.name}:
                with suppress(OSError):  # Windows keeps files that another process has open
                    path.unlink()

    def _map(self) -> np.ndarray:
        """Map the vectors, within the transaction that reads their rows: `compact` may move them."""
        facts = self._some_facts()
        name, end = facts.get("vectors", ""), facts.get("end", 0)
        if self._mapped is None or self._mapped[:2] != (name, end):
            self._mapped = name, end, open_vectors(self.folder / name, end, facts.get("dim", 0))
        return self._mapped[2]

    def _lists(self, vectors: np.ndarray) -> InvertedLists | None:
        """Return the lists to search; None if there are none, or none that can be used."""
        file = ListsFile.of(self._some_facts())
        if self._opened is None or self._opened[0] != file:
            self._opened = file, InvertedLists.opened(self.folder, file, vectors)
        return self._opened[1]

    def _some_facts(self) -> dict[str, Any]:
        """Return the facts about the files; those about the model take longer to read."""
        found = self._database.execute("SELECT * FROM facts WHERE name IN ('dim', 'end', 'lists', 'vectors')")
        return parsed_facts(found, self.path)

    def _at(self, places: np.ndarray) -> dict[int, IndexedImage]:
        found = {}
        with self._errors_named():
            for start in range(0, len(places), _AT_ONCE):
                some = [int(place) for place in places[start : start + _AT_ONCE]]
                marks = ", ".join("?" * len(some))
                for place, *values in self._database.execute(f"SELECT * FROM images WHERE place IN ({marks})", some):  # noqa: S608  placeholders alone
                    found[place] = IndexedImage(*values)
        return found

    def _set(self, **values: Any) -> None:
        pairs = [(name, json.dumps(value)) for name, value in values.items()]
        self._database.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", pairs)

    def _check_is_there(self) -> None:
        if not (self.path.exists() and os.path.samestat(self.path.stat(), self._file)):
            raise OSError(f"{self.path}: deleted or replaced while it was open; nothing more is stored in it")

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        """Run a block as one transaction: "BEGIN" to read, "BEGIN IMMEDIATE" to write."""
        with self._lock, self._errors_named():
            self._database.execute(begin)
            try:
                if begin != "BEGIN":
                    self._check_is_there()
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:  # such as a full disk, a locked or a read-only file
            if self.path.exists() and not os.access(self.path, os.R_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.path)) from error
            if "no such table" in str(error):
                raise ValueError(f"{self.path} is damaged ({error}); {AGAIN}") from error
            raise OSError(f"{self.path}: {error}") from error
        except sqlite3.Error as error:
            is_closed = isinstance(error, sqlite3.ProgrammingError)
            raise ValueError(f"{self.path} is " + ("closed" if is_closed else f"damaged ({error}); {AGAIN}")) from error
