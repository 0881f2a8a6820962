"""Embedded stores of vectors behind one interface, and the program that measures them side by side.

    python vector_stores.py COUNT FOLDER TURNS

It draws clustered vectors, and prints one JSON object per line: the times, size and recall of a store, or why it was
left out.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.tasks.search import store as store_module
from clip_core.tasks.search.rows import IndexedImage
from clip_core.tasks.search.store import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DIM, TOP, SPREAD = 512, 10, 0.9
PART = 10_000  # vectors in an addition
ADDED = 100  # vectors in the update that is timed
QUERIES = 50


def clusters(count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield parts of unit vectors around centres, one for each 100 vectors, at cosines of 0.7 to 0.8 to them."""
    centres = np.random.default_rng(0).standard_normal((max(1, count // 100), DIM), np.float32)
    random = np.random.default_rng(seed + 1)
    for start in range(0, count, PART):
        rows = min(PART, count - start)
        chosen = centres[random.integers(0, len(centres), rows)]
        yield unit(chosen + SPREAD * random.standard_normal((rows, DIM), np.float32))


def unit(rows: np.ndarray) -> np.ndarray:
    """Return rows of unit norm."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Ours:
    """SQLite beside a memory map: exact, or through inverted lists if there are enough vectors.

    Args:
        folder: its folder.
        exact: compare all vectors.
    """

    def __init__(self, folder: Path, *, exact: bool = True) -> None:
        self.folder, self.exact, self.count = folder, exact, 0
        self._store = SqliteStore(folder, create=True)

    def add(self, rows: np.ndarray) -> None:
        """Add vectors, permanently."""
        numbers = range(self.count, self.count + len(rows))
        images = [
            IndexedImage(b"/%09d" % n, n, n, "2024-01-01T00:00:00", n.to_bytes(32), n.to_bytes(32), 1, 1)
            for n in numbers
        ]
        self._store.add(images, rows)
        self.count += len(rows)

    def finish(self) -> None:
        """Build the lists."""
        if not self.exact:
            self._store.compact()

    def search(self, query: np.ndarray) -> list[int]:
        """Return the numbers of the nearest vectors."""
        return [found.row.size for found in self._store.search(query, TOP, exact=self.exact)]


class NumpyMap:
    """NumPy on a memory-mapped file, without rows or deletes: the least that an exact search costs."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._path, self.count = folder / "vectors", 0

    def add(self, rows: np.ndarray) -> None:
        """Add vectors."""
        with self._path.open("ab") as file:
            file.write(np.ascontiguousarray(rows, np.float32).data)
            os.fsync(file.fileno())
        self.count += len(rows)
        self._mapped = np.memmap(self._path, np.float32, "r", shape=(self.count, DIM))

    def finish(self) -> None:
        """Do nothing."""

    def search(self, query: np.ndarray) -> list[int]:
        """Return the numbers of the nearest vectors."""
        scores = self._mapped @ query
        best = np.argpartition(-scores, TOP)[:TOP]
        return best[np.argsort(-scores[best])].tolist()


class SqliteBlobs:
    """Vectors as blobs in SQLite, all read and compared by NumPy for each query."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._database = sqlite3.connect(folder / "vectors.sqlite")
        self._database.executescript(
            "PRAGMA synchronous = FULL; CREATE TABLE rows (id INTEGER PRIMARY KEY, vector BLOB)"
        )
        self.count = 0

    def add(self, rows: np.ndarray) -> None:
        """Add vectors."""
        with self._database:
            values = [(self.count + place, row.tobytes()) for place, row in enumerate(rows)]
            self._database.executemany("INSERT INTO rows VALUES (?, ?)", values)
        self.count += len(rows)

    def finish(self) -> None:
        """Do nothing."""

    def search(self, query: np.ndarray) -> list[int]:
        """Return the numbers of the nearest vectors."""
        ids, blobs = zip(*self._database.execute("SELECT id, vector FROM rows"), strict=True)
        scores = np.frombuffer(b"".join(blobs), np.float32).reshape(-1, DIM) @ query
        return [ids[place] for place in np.argsort(-scores)[:TOP]]


class Lance:
    """LanceDB.

    Args:
        folder: its folder.
        index: the type of its index; "" for an exact search.
    """

    def __init__(self, folder: Path, *, index: str = "") -> None:
        import lancedb
        import pyarrow as pa

        schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), DIM))])
        self._table = lancedb.connect(folder).create_table("images", schema=schema)
        self._index, self.count = index, 0

    def add(self, rows: np.ndarray) -> None:
        """Add vectors."""
        import pyarrow as pa

        ids = pa.array(range(self.count, self.count + len(rows)), pa.int64())
        values = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), DIM)
        self._table.add(pa.table({"id": ids, "vector": values}))
        self.count += len(rows)

    def finish(self) -> None:
        """Build the index, and merge the files of many additions."""
        if self._index:
            self._table.create_index(metric="cosine", index_type=self._index)
        self._table.optimize()

    def search(self, query: np.ndarray) -> list[int]:
        """Return the numbers of the nearest vectors."""
        asked = self._table.search(query).distance_type("cosine").limit(TOP).select(["id", "_distance"])
        return asked.to_arrow()["id"].to_pylist()


class Usearch:
    """usearch, an HNSW graph in memory with float16 vectors; an update is permanent once all is saved again."""

    def __init__(self, folder: Path) -> None:
        from usearch.index import Index

        folder.mkdir()
        self._path, self.count = folder / "vectors.usearch", 0
        self._index = Index(ndim=DIM, metric="cos", dtype="f16")
        self._saves = False

    def add(self, rows: np.ndarray) -> None:
        """Add vectors."""
        self._index.add(np.arange(self.count, self.count + len(rows)), rows, threads=os.cpu_count() or 1)
        self.count += len(rows)
        if self._saves:
            self._index.save(str(self._path))

    def finish(self) -> None:
        """Save the graph; from now on after every addition."""
        self._index.save(str(self._path))
        self._saves = True

    def search(self, query: np.ndarray) -> list[int]:
        """Return the numbers of the nearest vectors."""
        return [int(key) for key in self._index.search(query, TOP).keys]


STORES: dict[str, Callable[[Path], Any]] = {
    "ours, exact": Ours,
    "ours, inverted lists": lambda folder: Ours(folder, exact=False),
    "NumPy on a memory map": NumpyMap,
    "SQLite blobs and NumPy": SqliteBlobs,
    "LanceDB, exact": Lance,
    "LanceDB, IVF_HNSW_SQ": lambda folder: Lance(folder, index="IVF_HNSW_SQ"),
    "usearch, HNSW in float16": Usearch,
}


def measure(count: int, folder: Path, turns: int, names: list[str]) -> None:
    """Build every store, time its queries in turns, then an update and a kill; print the results."""
    # Sizes below the usual threshold get lists too, so that both ways are compared.
    store_module._WORTH_LISTS = min(200_000, count)  # noqa: SLF001
    stores, found = {}, {}
    for name in names:
        try:
            start = time.perf_counter()
            store = STORES[name](folder / name)
            for part in clusters(count):
                store.add(part)
            store.finish()
            found[name] = {"store": name, "count": count, "build": time.perf_counter() - start}
            found[name]["bytes"] = size_of(folder / name)
            stores[name] = store
        except Exception as error:  # noqa: BLE001  the others are measured
            print(json.dumps({"store": name, "left_out": f"{type(error).__name__}: {error}"[:300]}), flush=True)
    queries = next(clusters(count, seed=7))[:QUERIES]
    expected = nearest(count, queries)
    answers: dict[str, list[list[int]]] = {name: [] for name in stores}
    times: dict[str, list[float]] = {name: [] for name in stores}
    random = np.random.default_rng(3)
    for turn in range(turns):
        for place in random.permutation(len(stores)):
            name = list(stores)[place]
            stores[name].search(queries[turn % QUERIES])  # untimed: the store before has emptied the caches
            for query in queries[:QUERIES] if turn == 0 else queries[turn % QUERIES :][:3]:
                start = time.perf_counter()
                answer = stores[name].search(query)
                times[name].append(time.perf_counter() - start)
                if turn == 0:
                    answers[name].append(answer)
    for name, store in stores.items():
        kept = [len(set(some) & set(right)) / TOP for some, right in zip(answers[name], expected, strict=True)]
        start = time.perf_counter()
        store.add(next(clusters(ADDED, seed=11)))
        found[name] |= {"seconds": times[name], "recall": statistics.fmean(kept), "update": time.perf_counter() - start}
        print(json.dumps(found[name]), flush=True)


def nearest(count: int, queries: np.ndarray) -> list[list[int]]:
    """Return the numbers of the vectors that are nearest to each query, compared part by part."""
    best = [np.empty((0, 2))] * len(queries)
    for number, part in enumerate(clusters(count)):
        scores = queries @ part.T
        for place, row in enumerate(scores):
            some = np.argpartition(-row, min(TOP, len(row) - 1))[:TOP]
            both = np.concatenate([best[place], np.stack([row[some], number * PART + some], axis=1)])
            best[place] = both[np.argsort(-both[:, 0])][:TOP]
    return [[int(key) for _, key in rows] for rows in best]


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    count, folder, turns, *names = sys.argv[1:]
    target = Path(folder)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    measure(int(count), target, int(turns), names or list(STORES))
    shutil.rmtree(target, ignore_errors=True)
