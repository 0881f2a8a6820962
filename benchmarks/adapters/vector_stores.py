"""Embedded stores of vectors behind one interface, for `vector_measurements.py`.

Each has a folder of its own. `add` is permanent once `finish` has built the index; `survivors` reads a folder as it was
left by a process that was killed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.tasks.search.rows import IndexedImage
from clip_core.tasks.search.store import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DIM, TOP, SPREAD = 512, 10, 0.9
PART = 10_000  # vectors in an addition


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


def nearest(count: int, queries: np.ndarray) -> list[list[int]]:
    """Return the numbers of the vectors that are nearest to each query, compared part by part."""
    best: list[Any] = [np.empty((0, 2))] * len(queries)
    for number, part in enumerate(clusters(count)):
        scores = queries @ part.T
        for place, row in enumerate(scores):
            some = np.argpartition(-row, min(TOP, len(row) - 1))[:TOP]
            both = np.concatenate([best[place], np.stack([row[some], number * PART + some], axis=1)])
            best[place] = both[np.argsort(-both[:, 0])][:TOP]
    return [[int(key) for _, key in rows] for rows in best]


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

    @staticmethod
    def survivors(folder: Path) -> int:
        """Return the number of vectors that can be read."""
        rows, places, vectors = SqliteStore(folder).everything()
        assert np.isfinite(vectors[places]).all()
        return len(rows)


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
        self.mapped = np.memmap(self._path, np.float32, "r", shape=(self.count, DIM))

    def finish(self) -> None:
        """Do nothing."""

    def search(self, query: np.ndarray) -> list[int]:
        """Return the numbers of the nearest vectors."""
        scores = self.mapped @ query
        best = np.argpartition(-scores, TOP)[:TOP]
        return best[np.argsort(-scores[best])].tolist()

    @staticmethod
    def survivors(folder: Path) -> int:
        """Return the number of vectors that can be read; a half-written one is cut off."""
        return (folder / "vectors").stat().st_size // (4 * DIM)


class SqliteVec:
    """sqlite-vec, an extension that compares all vectors, in apsw: Python's own SQLite often cannot load extensions."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._database, self.count = self._connected(folder), 0
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute(f"CREATE VIRTUAL TABLE rows USING vec0(vector float[{DIM}] distance_metric=cosine)")

    @staticmethod
    def _connected(folder: Path) -> Any:
        import apsw
        import sqlite_vec

        database = apsw.Connection(str(folder / "vectors.sqlite"))
        database.enable_load_extension(True)
        database.load_extension(sqlite_vec.loadable_path())
        return database

    def add(self, rows: np.ndarray) -> None:
        """Add vectors."""
        values = [(self.count + place, row.tobytes()) for place, row in enumerate(rows)]
        with self._database:
            self._database.executemany("INSERT INTO rows(rowid, vector) VALUES (?, ?)", values)
        self.count += len(rows)

    def finish(self) -> None:
        """Do nothing."""

    def search(self, query: np.ndarray) -> list[int]:
        """Return the numbers of the nearest vectors."""
        sql = "SELECT rowid FROM rows WHERE vector MATCH ? AND k = ? ORDER BY distance"
        return [number for (number,) in self._database.execute(sql, (query.tobytes(), TOP))]

    @classmethod
    def survivors(cls, folder: Path) -> int:
        """Return the number of vectors that can be read."""
        return int(next(cls._connected(folder).execute("SELECT count(vector) FROM rows"))[0])


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

    @staticmethod
    def survivors(folder: Path) -> int:
        """Return the number of vectors that can be read."""
        import lancedb

        return lancedb.connect(folder).open_table("images").to_arrow().num_rows


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

    @staticmethod
    def survivors(folder: Path) -> int:
        """Return the number of vectors that can be read."""
        from usearch.index import Index

        index = Index(ndim=DIM, metric="cos", dtype="f16")
        index.load(str(folder / "vectors.usearch"))
        return len(index)


class Faiss:
    """faiss alone: inverted lists of 8-bit codes in memory; an update is permanent once the whole file is rewritten.

    Args:
        folder: its folder.
    """

    def __init__(self, folder: Path) -> None:
        self._vectors, self._path = NumpyMap(folder), folder / "vectors.faiss"
        self._index: Any = None

    def add(self, rows: np.ndarray) -> None:
        """Add vectors."""
        import faiss

        if self._index is None:
            self._vectors.add(rows)
        else:
            self._index.add(rows)
            faiss.write_index(self._index, str(self._path))

    def finish(self) -> None:
        """Train the lists on a sample, as many as ours, and write them."""
        import faiss

        rows = self._vectors.mapped
        lists = max(1, int(2 * len(rows) ** 0.5))
        self._index = faiss.index_factory(DIM, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
        self._index.cp.niter, self._index.cp.min_points_per_centroid, self._index.nprobe = 8, 1, 32
        sample = np.random.default_rng(0).choice(len(rows), min(len(rows), 64 * lists), replace=False)
        self._index.train(rows[np.sort(sample)])
        for start in range(0, len(rows), PART):
            self._index.add(rows[start : start + PART])
        faiss.write_index(self._index, str(self._path))
        (self._path.parent / "vectors").unlink()

    def search(self, query: np.ndarray) -> list[int]:
        """Return the numbers of the nearest vectors."""
        return self._index.search(query[None], TOP)[1][0].tolist()

    @staticmethod
    def survivors(folder: Path) -> int:
        """Return the number of vectors that can be read."""
        import faiss

        return int(faiss.read_index(str(folder / "vectors.faiss")).ntotal)


STORES: dict[str, tuple[Any, dict[str, Any]]] = {  # by name: the class, and its options
    "ours, exact": (Ours, {}),
    "ours, inverted lists": (Ours, {"exact": False}),
    "NumPy on a memory map": (NumpyMap, {}),
    "sqlite-vec, exact": (SqliteVec, {}),
    "LanceDB, exact": (Lance, {}),
    "LanceDB, IVF_HNSW_SQ": (Lance, {"index": "IVF_HNSW_SQ"}),
    "usearch, HNSW in float16": (Usearch, {}),
    "faiss alone, 8 bits": (Faiss, {}),
}


def made(name: str, folder: Path) -> Any:
    """Make a store in a new folder."""
    kind, options = STORES[name]
    return kind(folder, **options)
