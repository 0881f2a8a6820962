"""Embedding a source of images into a dataset of Parquet files; after an interruption, the rest of it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clip_core.configuration.arguments import check_integers, check_one_of, check_texts
from clip_core.hub import split_hub_options
from clip_core.hub.options import DEFAULT_MODEL
from clip_core.processing.frameworks import default_backend
from clip_core.tasks.embedding.embedder import ModelSettings
from clip_core.tasks.embedding.engines import LocalEngine, RayEngine
from clip_core.tasks.embedding.manifest import (
    MANIFEST,
    check_no_others,
    check_same_job,
    new_manifest,
    pending_pieces,
    read_manifest,
)
from clip_core.tasks.embedding.parts import EMBEDDINGS, FAILED
from clip_core.tasks.embedding.places import Location, arrow, reached
from clip_core.tasks.embedding.sources import open_source
from clip_core.tasks.search.identity import stored_source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clip_core.tasks.embedding.engines import Runner
    from clip_core.tasks.embedding.parts import PartResult

_ENGINES = ("local", "ray")
_DTYPES = ("float32", "float16")  # of stored embeddings


@dataclass
class EmbeddingSummary:
    """The result of an embedding job.

    Attributes:
        images: the number of images embedded.
        failed: the number of images that could not be read; the dataset has a table of them.
        parts: the number of parts written.
        earlier: the number of parts that already existed.
        errors: the error for each piece of the source that could not be read; the next run tries it again.
    """

    images: int = 0
    failed: int = 0
    parts: int = 0
    earlier: int = 0
    errors: dict[str, str] = field(default_factory=dict)


def embed(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    engine: str = "local",
    workers: int | None = None,
    model: str | os.PathLike[str] | None = None,
    backend: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    image_column: str | None = None,
    columns: Sequence[str] | None = None,
    embedding_dtype: str = "float32",
    rows_per_part: int = 4096,
    batch_size: int = 32,
    num_threads: int | None = None,
    on_start: Callable[[int, int], object] | None = None,
    on_part: Callable[[PartResult], object] | None = None,
    **options: Any,
) -> EmbeddingSummary:
    """Embed a source of images into a dataset of Parquet files; see docs/embedding.md.

    A call after an interruption embeds what is missing. Images that cannot be read are listed in a table of their own.

    Args:
        source: a folder of images, Parquet files with a column of images or of their paths, or WebDataset shards: a
            path, a pattern, or a URL of fsspec.
        out: the folder of the dataset, or its URL.
        engine: "local", in this process; or "ray", on the cluster that RAY_ADDRESS names or else on this machine.
        workers: the number of models of "ray"; None for one on each GPU, or on each machine without one.
        model: a local folder or a hub id; None for that of the dataset.
        backend: the framework, by its name in `clip_core.backends.backend_names()`; None for the default one.
        device: the device, as the framework names it; by default the best available.
        dtype: dtype of the weights, such as "float16"; by default that of the dataset, or float32.
        image_column: the column of images in Parquet files, or their extension in shards; by default a usual one.
        columns: columns of Parquet files to keep; None for all but embedded images.
        embedding_dtype: dtype of the stored embeddings, "float32" or "float16".
        rows_per_part: images in a part; each shard is one part, whatever its size.
        batch_size: images to encode at a time.
        num_threads: threads that read and preprocess; None for one per processor, up to 8.
        on_start: called with the number of parts to write, and of those that already exist.
        on_part: called with the result of each piece.
        **options: hub options; see `clip_core.hub.HubOptions`.

    Returns:
        The counts.

    Raises:
        OtherModelError: if the model is not the one of the dataset.
        BlockingIOError: if another process writes to the dataset.
        ValueError: if the source has no images, or is not the one of the dataset.
        ImportError: if a library is not installed.
        TypeError: if `columns` is a single string.
    """
    arrow()
    runner = _engine(engine, workers)
    check_one_of(embedding_dtype=(embedding_dtype, _DTYPES))
    check_integers(rows_per_part=(rows_per_part, 1), batch_size=(batch_size, 1))
    check_integers(num_threads=(num_threads, 1), optional=True)
    check_texts(columns=columns)
    place = Location.open(out)
    with reached(source):
        pictures = open_source(os.fspath(source), image=image_column, columns=columns, rows=rows_per_part)
        pieces = pictures.pieces()
    if not pieces:
        raise ValueError(f"{os.fspath(source)} contains no images")
    name = stored_place(source)
    with place.owned("an embedding"):
        facts = read_manifest(place)
        if facts is None:
            check_no_others(place)
        else:
            settings = {**pictures.settings, "embedding_dtype": embedding_dtype}
            check_same_job(facts, name, settings, place.shown(place.root))
        pending = pending_pieces(place, pictures, pieces)
        if on_start is not None:
            on_start(len(pending), len(pieces) - len(pending))
        known = facts or {}
        given = os.fspath(model) if model is not None else known.get("model", DEFAULT_MODEL)
        chosen = ModelSettings(
            given,
            backend or default_backend(),
            device,
            dtype or known.get("dtype"),
            batch_size,
            num_threads,
            {**split_hub_options(options), **options},
        )
        summary = EmbeddingSummary(earlier=len(pieces) - len(pending))
        if pending or stored_source(given) != known.get("model"):
            with runner:
                found = runner.begin(chosen, facts)
                if facts is None:
                    facts = new_manifest(name, pictures.settings, found, embedding_dtype)
                    place.write_json(MANIFEST, facts)
                _remove_unfinished(place)
                for result in runner.run(chosen, pictures, place, facts, pending) if pending else ():
                    _count(summary, result)
                    if on_part is not None:
                        on_part(result)
            _remove_unfinished(place)  # of workers that were killed
    return summary


def stored_place(source: str | os.PathLike[str]) -> str:
    """Return a source as a manifest names it: the whole path of a local one, or the URL.

    Args:
        source: a path, a pattern or a URL.
    """
    place = Location.open(source)
    return place.shown(place.root)


def _engine(name: str, workers: int | None) -> Runner:
    check_one_of(engine=(name, _ENGINES))
    check_integers(workers=(workers, 1), optional=True)
    if name == "ray":
        return RayEngine(workers)
    if workers is not None:
        raise ValueError(f"workers={workers}: engine='local' runs one model; choose engine='ray'")
    return LocalEngine()


def _remove_unfinished(place: Location) -> None:
    for folder in (EMBEDDINGS, FAILED):
        place.remove_unfinished(folder)


def _count(summary: EmbeddingSummary, result: PartResult) -> None:
    if result.error is not None:
        summary.errors[result.piece] = result.error
        return
    summary.parts += 1
    summary.images += result.images
    summary.failed += result.failed
