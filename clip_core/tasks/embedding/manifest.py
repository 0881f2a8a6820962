"""The manifest of a dataset: the model and the source that all its parts come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clip_core.hub.printing import shortened, valid_text
from clip_core.tasks.embedding.parts import EMBEDDINGS, sizes_in_part
from clip_core.tasks.embedding.places import RUNNING
from clip_core.tasks.search.identity import MODEL_FACTS, check_types_of_facts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clip_core.tasks.embedding.pieces import Piece, Source
    from clip_core.tasks.embedding.places import Location

MANIFEST = "clip-zoo.json"
_FORMAT = 1
_TYPES = {"source": str, "kind": str, "embedding_dtype": str, "dim": int, **MODEL_FACTS}  # the rest are settings
_OPTIONS = ("image_column", "columns", "rows_per_part", "embedding_dtype")


def read_manifest(place: Location) -> dict[str, Any] | None:
    """Return the manifest of a dataset; None if the folder has none.

    Args:
        place: the folder.

    Raises:
        ValueError: if it was written by a later version, or is damaged.
    """
    facts = place.read_json(MANIFEST)
    if facts is not None and facts.get("format") != _FORMAT:
        where = place.shown(place.path(MANIFEST))
        found = shortened(repr(facts.get("format")))
        raise ValueError(f"{where}: expected a dataset of format {_FORMAT}, found {found}")
    if facts is not None:
        where, advice = place.shown(place.path(MANIFEST)), "embed into a new folder"
        check_types_of_facts(facts, _TYPES, where, advice)
        if any(len(row) != facts["dim"] for row in facts["fingerprint"]):
            raise ValueError(f"{where} is damaged (its dim is not the width of its fingerprint); {advice}")
    return facts


def check_no_others(place: Location) -> None:
    """Check that the folder of a new dataset contains no files.

    Args:
        place: the folder.

    Raises:
        FileExistsError: if it does.
    """
    if any(not name.startswith(".") and name != RUNNING for name in place.names("")):
        raise FileExistsError(f"{place.shown(place.root)} contains other files; give a new folder for the dataset")


def new_manifest(source: str, settings: dict[str, Any], model: dict[str, Any], embedding_dtype: str) -> dict[str, Any]:
    """Return the manifest of a new dataset.

    Args:
        source: the source of the images.
        settings: its settings.
        model: the facts about the model, as `describe_model` returns them.
        embedding_dtype: dtype of the embeddings.
    """
    dim = len(model["fingerprint"][0])
    return {"format": _FORMAT, "source": source, **settings, "embedding_dtype": embedding_dtype, "dim": dim, **model}


def check_same_job(facts: dict[str, Any], source: str, settings: dict[str, Any], where: str) -> None:
    """Check that a dataset was begun from the same source with the same settings.

    Args:
        facts: its manifest.
        source: the source of the images.
        settings: its settings, and the dtype of the embeddings.
        where: the dataset, for messages.

    Raises:
        ValueError: if something differs; the message names it.
    """
    if (facts["source"], facts["kind"]) != (source, settings["kind"]):
        raise ValueError(
            f"{where} was made from {facts['kind']} in {facts['source']}, not {settings['kind']} in {source}; give "
            "another folder for the dataset"
        )
    for name in _OPTIONS:
        if facts.get(name) != settings.get(name):
            raise ValueError(
                f"{name}={settings.get(name)!r}: {where} was begun with {facts.get(name)!r}; give the same, or another "
                "folder for the dataset"
            )


def pending_pieces(place: Location, source: Source, pieces: Sequence[Piece]) -> list[Piece]:
    """Return the pieces that have no part yet.

    Args:
        place: the folder of the dataset.
        source: the source of the images.
        pieces: its pieces.

    Raises:
        ValueError: if the files of a piece have changed since its part was written; the message names one.
    """
    done = dict(_parts(place))
    for piece in pieces:
        if done.get(piece.key, piece.version) != piece.version:
            raise ValueError(
                f"{_change(place, source, piece, done[piece.key])} since {place.shown(place.root)} was made; embed "
                "into a new folder (for a folder of images that changes, use `clip-zoo index`)"
            )
    return [piece for piece in pieces if piece.key not in done]


def _change(place: Location, source: Source, piece: Piece, version: str) -> str:
    """Return the first file of a piece that has changed since a version, and how.

    The images of a folder are divided by the order of their names. A new one moves those after it, also into other
    pieces, so only the first difference is one of the files themselves.
    """
    if source.settings["kind"] != "images":
        return f"{source.place.shown(piece.paths[0])} has changed"
    now = {valid_text(source.relative(path)): source.sizes[path] for path in piece.paths}
    try:
        before = sizes_in_part(place, f"{piece.key}-{version}.parquet")
    except ValueError:  # a damaged part
        before = dict.fromkeys(now)
    differing = min(before.keys() ^ now.keys(), default=None)
    if differing is not None:
        return f"{source.place.shown(source.place.path(differing))} was {'added' if differing in now else 'removed'}"
    resized = [name for name, size in before.items() if size not in (None, now[name])]
    unknown = [name for name, size in before.items() if size is None]
    for name in resized or (unknown if len(unknown) == 1 else []):
        return f"{source.place.shown(source.place.path(name))} has changed"
    return f"an image in {source.place.shown(source.place.root)} has changed"


def _parts(place: Location) -> Iterator[tuple[str, str]]:
    """Yield the key and the version of each part."""
    for name in place.names(EMBEDDINGS):
        if name.endswith(".parquet"):
            key, _, version = name.removesuffix(".parquet").rpartition("-")
            yield key, version


def is_done(place: Location, piece: Piece) -> bool:
    """Return True if the part of a piece is there.

    Args:
        place: the folder of the dataset.
        piece: the piece.
    """
    return bool(place.files.exists(place.path(f"{EMBEDDINGS}/{piece.file}")))
