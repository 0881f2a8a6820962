"""Approximate search of large indexes: inverted lists of 8-bit codes by faiss, in a file beside the vectors.

The file is derived from the vectors and can always be made again. What it finds is compared with the vectors, and
without it a search compares all of them. The database holds its name, its hash, and which vectors it covers. A new file
has a new name, and takes effect in the transaction that stores these facts.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from clip_core.hub.files import FULL_DISK
from clip_core.hub.printing import reason_of

if TYPE_CHECKING:
    from pathlib import Path

WORTH = 200_000  # vectors; a search of fewer is fast without lists
_OUTSIDE = 10_000  # new vectors that every search compares, before they are added to the lists
_ITERATIONS = 8  # of k-means; recall gains little from more
_SAMPLES = 64  # vectors for each list that k-means sees
_BLOCK = 65536  # vectors to add at a time
_PROBES = 32  # lists to read for up to _FEW candidates; see docs/search.md for the recall
_FEW = 400
_NAME = re.compile(r"lists-[0-9a-f]{16}\.faiss")  # never outside the folder of the index
_INSTALL = "pip install 'clip-zoo[search]'"


@dataclass(frozen=True)
class ListsFile:
    """The facts about a file of inverted lists that the database holds.

    Attributes:
        name: its name in the folder of the index.
        sha256: its hash, in hexadecimal.
        vectors: the name of the file of vectors that it was made of.
        count: the number of vectors that it covers, from the first one on.
        trained: the number of vectors when the lists were made; later ones were only added.
    """

    name: str
    sha256: str
    vectors: str
    count: int
    trained: int

    @classmethod
    def of(cls, facts: dict[str, Any]) -> Self | None:
        """Return the file that facts of the database name; None if there is none for the present file of vectors.

        Args:
            facts: the facts; "lists" has the fields, and "vectors" the name of the file of vectors.
        """
        found = facts.get("lists")
        if not isinstance(found, dict) or found.keys() != cls.__dataclass_fields__.keys():
            return None
        file = cls(**found)
        if not type(file.count) is type(file.trained) is int:
            return None
        return file if file.vectors == facts["vectors"] and _NAME.fullmatch(str(file.name)) else None


class InvertedLists:
    """The inverted lists of an index, read when they are searched.

    Args:
        folder: the folder of the index.
        file: the facts about the file.
        dim: the width of a vector.
        in_memory: read them at once, to add to them.

    Raises:
        ImportError: if faiss is not installed.
        OSError: if the file is missing or cannot be read.
        ValueError: if it is not the file that was written.
    """

    def __init__(self, folder: Path, file: ListsFile, dim: int, *, in_memory: bool = False) -> None:
        faiss = load_faiss()
        self.count = file.count
        # By the descriptor: faiss parses the file that was hashed, whatever bytes its name has. Windows has none.
        path, named = folder / file.name, os.name == "nt"
        flags = 0 if named or in_memory else faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY
        with path.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != file.sha256:
                raise ValueError("its content has changed")
            content.seek(0)
            try:
                self.index = faiss.read_index(str(path) if named else f"/dev/fd/{content.fileno()}", flags)
            except RuntimeError as error:  # such as a file of a newer faiss
                raise ValueError(f"faiss {faiss.__version__} cannot read it") from error
        kind = type(self.index)
        if kind is not faiss.IndexIVFScalarQuantizer or (self.index.d, self.index.ntotal) != (dim, file.count):
            raise ValueError(f"it holds another index: {kind.__name__} of {self.index.ntotal} x {self.index.d}")
        if flags:  # mapped lists would otherwise be read ahead by 32 threads
            faiss.downcast_InvertedLists(self.index.invlists).prefetch_nthread = 0

    def nearest(self, query: np.ndarray, count: int, allowed: np.ndarray | None = None) -> np.ndarray | None:
        """Return the places of most of the nearest vectors; None if most lists had to be read for them.

        faiss searches for a single query in the calling thread.

        Args:
            query: `(dim,)`, float32, of unit norm.
            count: the number of places; fewer are returned if the lists that were read hold fewer.
            allowed: True for the vectors to choose from, `(places,)`, bool; None for all.

        Returns:
            `(places,)`, int64, most similar first.
        """
        faiss = load_faiss()
        share = 1.0 if allowed is None else float(allowed[: self.count].mean())
        probes = _PROBES * max(1.0, count / _FEW)
        if probes > share * self.index.nlist / 2:
            return None
        options: dict[str, Any] = {"nprobe": int(probes / share)}
        if allowed is not None:
            bits = np.packbits(allowed[: self.count], bitorder="little")
            options["sel"] = faiss.IDSelectorBitmap(bits)
        _, found = self.index.search(query[None], count, params=faiss.SearchParametersIVF(**options))
        places: np.ndarray = found[0]
        return places[(places >= 0) & (places < self.count)]

    @classmethod
    def opened(cls, folder: Path, file: ListsFile | None, vectors: np.ndarray) -> Self | None:
        """Open the lists of an index; if that is not possible, warn and return None, so that all vectors are compared.

        Args:
            folder: the folder of the index.
            file: the facts about the file; None if there is none.
            vectors: the vectors of the index, `(count, dim)`.
        """
        if file is None and len(vectors) < WORTH:
            return None
        again = "run `clip-zoo index` again"
        try:
            if file is not None:
                return cls(folder, file, vectors.shape[1])
            load_faiss()
            reason, advice = "it has no inverted lists yet", f"{again} to make them"
        except ImportError:
            reason, advice = "faiss is not installed", _INSTALL + (f", and {again}" if file is None else "")
        except (OSError, ValueError) as error:
            why = reason_of(error) if isinstance(error, OSError) else str(error)
            reason, advice = f"{file.name if file else ''} cannot be used: {why}", f"{again} to make it anew"
        told = f"{folder}: every search compares all {len(vectors):,} images, as {reason}; {advice}"
        warnings.warn(told, stacklevel=4)
        return None


def load_faiss() -> Any:
    """Return faiss, untyped: its stubs lack what its Python code adds."""
    import faiss

    return faiss


def updated(folder: Path, name: str, vectors: np.ndarray, earlier: ListsFile | None) -> ListsFile | None:
    """Bring the inverted lists up to date with the vectors.

    Args:
        folder: the folder of the index.
        name: the name of the file of vectors.
        vectors: `(count, dim)`, of unit norm.
        earlier: the facts about the lists so far; None if there are none, or if they are of another file of vectors.

    Returns:
        The facts about the lists: the earlier ones if few vectors are new, or, after a warning, without faiss.

    Raises:
        OSError: if the file cannot be written.
    """
    try:
        load_faiss()
    except ImportError:
        InvertedLists.opened(folder, earlier, vectors)
        return earlier
    lists = None
    if earlier is not None and len(vectors) <= 2 * earlier.trained:
        is_close = len(vectors) - earlier.count <= _OUTSIDE
        try:
            lists = InvertedLists(folder, earlier, vectors.shape[1], in_memory=not is_close)
        except (OSError, ValueError):  # missing or damaged: rebuilt
            lists = None
        if lists is not None and is_close:
            return earlier
    index = _trained(vectors) if lists is None else lists.index
    for start in range(index.ntotal, len(vectors), _BLOCK):
        index.add(np.ascontiguousarray(vectors[start : start + _BLOCK]))
    trained = earlier.trained if lists is not None and earlier is not None else len(vectors)
    path = folder / f"lists-{secrets.token_hex(8)}.faiss"
    return ListsFile(path.name, _written(index, path), name, len(vectors), trained)


def _trained(vectors: np.ndarray) -> Any:
    """Return lists without vectors, by spherical k-means of a sample."""
    faiss = load_faiss()
    number = max(1, int(2 * len(vectors) ** 0.5))
    index = faiss.index_factory(vectors.shape[1], f"IVF{number},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.spherical, index.cp.min_points_per_centroid = _ITERATIONS, True, 1
    size = min(len(vectors), number * _SAMPLES)
    sample = np.sort(np.random.default_rng(0).choice(len(vectors), size, replace=False))
    index.train(np.ascontiguousarray(vectors[sample]))
    return index


def _written(index: Any, path: Path) -> str:
    """Write lists, wait until they are on the disk, and return the hash of the file.

    Raises:
        OSError: if it cannot be written; the message says that the images are stored, and how to make the lists.
    """
    faiss, digest = load_faiss(), hashlib.sha256()
    try:
        with path.open("xb") as file:

            def write(content: bytes) -> None:
                digest.update(content)
                file.write(content)

            faiss.write_index(index, faiss.PyCallbackIOWriter(write))
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:
        path.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        advice = "the images are stored; run `clip-zoo index` again to make their inverted lists"
        if error.errno in FULL_DISK:
            advice = f"{advice}, once there is space"
        raise OSError(error.errno, f"{reason_of(error)}; {advice}", str(path)) from error
    return digest.hexdigest()
