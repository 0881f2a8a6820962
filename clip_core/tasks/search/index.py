"""An index of images that a CLIP model searches by text and by image."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from clip_core.configuration.arguments import check_integers, check_texts, several
from clip_core.hub.options import DEFAULT_MODEL
from clip_core.processing.frameworks import default_backend
from clip_core.tasks.images import check_several_images
from clip_core.tasks.search.duplicates import THRESHOLD, DuplicateGroup, find_duplicates
from clip_core.tasks.search.filters import folder_range, parse_conditions, stored_path
from clip_core.tasks.search.identity import check_model, describe_model, stored_source
from clip_core.tasks.search.queries import Hit, hit_of, query_of
from clip_core.tasks.search.store import SqliteStore
from clip_core.tasks.search.updating import IndexChanges, add_dataset, apply_plan, make_plan
from clip_core.tasks.zero_shot import ZeroShotClassifier, softmax

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class ImageIndex:
    """Embeddings of images in a folder on the disk; see docs/search.md.

    The model is loaded when it is first needed. An index remembers its model, and refuses any other.

    Args:
        folder: the folder of the index.
        model: a local folder or a hub id; None for the model of the index.
        backend: the framework, by its name in `clip_core.backends.backend_names()`; None for the default one.
        device: the device, as the framework names it; by default the best available.
        dtype: dtype of the weights, such as "float16"; by default that of the index, or float32.
        create: create the index if it is missing; otherwise that is an error.
        **options: hub options; see `clip_core.hub.HubOptions`.

    Raises:
        FileNotFoundError: if there is no index, or no model.
        ValueError: if the index is damaged.

    Example:
        >>> with ImageIndex("index", model="openai/clip-vit-base-patch32", create=True) as index:  # doctest: +SKIP
        ...     index.add(["photos"])
        ...     index.search(["a red bicycle"], top_k=3)
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        model: str | os.PathLike[str] | None = None,
        backend: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        create: bool = False,
        **options: Any,
    ) -> None:
        self._store = SqliteStore(folder, create=create)
        facts = self._store.facts()
        self._source = os.fspath(model) if model is not None else facts.get("model", DEFAULT_MODEL)
        self._backend = backend
        self._dtype = dtype or facts.get("dtype")
        self._options = {"device": device, **options}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._store)

    def close(self) -> None:
        """Close the files of the index."""
        self._store.close()

    @property
    def facts(self) -> dict[str, Any]:
        """The model of the index, its preprocessing, its fingerprint, and the versions that made it."""
        return self._store.facts()

    @cached_property
    def model(self) -> ZeroShotClassifier:
        """The model, checked against the index."""
        backend = self._backend or default_backend()
        model = ZeroShotClassifier.from_pretrained(self._source, backend=backend, dtype=self._dtype, **self._options)
        facts = self._store.facts()
        if "fingerprint" in facts:
            check_model(model, self._source, self._dtype, facts)
        else:
            self._store.set_facts(**describe_model(model, self._source, backend, self._dtype))
        return model

    def add(
        self,
        sources: Sequence[str | os.PathLike[str]],
        *,
        captions: bool = False,
        batch_size: int = 32,
        num_threads: int | None = None,
        on_start: Callable[[int], object] | None = None,
        on_commit: Callable[[list[Path]], object] | None = None,
        on_error: Callable[[Path, ValueError], object] | None = None,
    ) -> IndexChanges:
        """Bring the index up to date with files and folders; an interrupted call is continued by the next.

        New and changed files are encoded. Files deleted from a folder are removed. Broken files are skipped.

        Args:
            sources: image files, folders (searched recursively) and globs.
            captions: also store the text file of the same name beside each image.
            batch_size: images to encode at a time.
            num_threads: threads that read and preprocess; None for one per processor, up to 8.
            on_start: called with the number of files to encode.
            on_commit: called with the files that are now stored permanently.
            on_error: called with a broken file and its error.

        Returns:
            The changes.

        Raises:
            ImageFileError: if a source is missing, or contains no images.
            OtherModelError: if the model is not the one of the index.
            TypeError: if `sources` is a single string.
        """
        check_integers(batch_size=(batch_size, 1))
        check_texts(sources=sources)
        plan = make_plan(self._store, sources, captions=captions)
        # Loading refuses another model before anything changes; the same one is not needed to delete rows.
        count = len(plan.new) + len(plan.changed)
        model = self.model.prepared(count) if count or self._is_other_model() else None
        if on_start is not None:
            on_start(count)
        return apply_plan(
            plan,
            self._store,
            model,
            captions=captions,
            batch_size=batch_size,
            num_threads=num_threads,
            on_commit=on_commit,
            on_error=on_error,
        )

    def add_embedded(
        self,
        dataset: str | os.PathLike[str],
        *,
        on_start: Callable[[int], object] | None = None,
        on_commit: Callable[[int], object] | None = None,
    ) -> IndexChanges:
        """Add the images of a dataset that `clip-zoo embed` wrote. The model is not loaded.

        Args:
            dataset: the folder of the dataset, or its URL.
            on_start: called with the number of its images.
            on_commit: called with the number of further images that are in the index now.

        Returns:
            The changes.

        Raises:
            FileNotFoundError: if there is no dataset.
            OtherModelError: if its model is not the one of the index.
            ValueError: if it is damaged.
        """
        from clip_core.tasks.embedding.dataset import EmbeddedDataset

        embedded = EmbeddedDataset(dataset)
        if on_start is not None:
            on_start(len(embedded))
        return add_dataset(self._store, embedded, on_commit)

    def remove(self, paths: Sequence[str | os.PathLike[str]]) -> int:
        """Remove images from the index, never from the disk.

        Args:
            paths: files, and folders for all images inside.

        Returns:
            The number of images removed.

        Raises:
            TypeError: if `paths` is a single string.
        """
        paths = several("paths", paths)
        found = [row.path for path in paths for row in self._store.rows(*folder_range(Path(path)))]
        return self._store.delete([*map(stored_path, paths), *found])

    def search(
        self,
        texts: Sequence[str] = (),
        *,
        images: Sequence[Any] = (),
        without: Sequence[str] = (),
        where: Sequence[str] = (),
        top_k: int = 10,
        probabilities: bool = False,
        exact: bool = False,
    ) -> list[Hit]:
        """Return the images most similar to a query, best first.

        The query is the sum of the embeddings of its texts and images, minus those in `without`.

        Args:
            texts: texts to search for.
            images: images to search for, in any form that the image processor accepts.
            without: texts to subtract.
            where: conditions that all hits meet, such as "folder=/photos", "date>=2024-06" and "size<2MB".
            top_k: the number of hits.
            probabilities: also compute each hit's probability among the hits.
            exact: compare all images, also in a large index.

        Raises:
            ValueError: if there is nothing to search for, or a condition cannot be parsed.
            OtherModelError: if the model is not the one of the index.
            TypeError: if an argument that takes several is a single text or image.
        """
        check_integers(top_k=(top_k, 1))
        check_texts(texts=texts, without=without)
        check_several_images(images)
        where = several("where", where)
        parse_conditions(where)  # before a model is loaded
        query = self._query(texts, images, without)
        return self.nearest(query, where=where, top_k=top_k, probabilities=probabilities, exact=exact)

    def nearest(
        self,
        query: np.ndarray,
        *,
        where: Sequence[str] = (),
        top_k: int = 10,
        probabilities: bool = False,
        exact: bool = False,
    ) -> list[Hit]:
        """Return the images most similar to an embedding, best first. Takes the arguments of `search` but for these.

        Args:
            query: an embedding by the model of the index, of unit norm: `(projection,)`, float32.
            where: conditions that all hits meet.
            top_k: the number of hits.
            probabilities: also compute each hit's probability among the hits.
            exact: compare all images.

        Raises:
            ValueError: if a condition cannot be parsed, or the query has another shape or is not finite.
        """
        check_integers(top_k=(top_k, 1))
        found = self._store.search(query, top_k, parse_conditions(where), exact=exact)
        shares: Sequence[float | None] = [None] * len(found)
        if probabilities and found:
            logits = self.model.encoder.logits_per_image(np.stack([one.vector for one in found]), query[None])
            shares = [float(share) for share in softmax(logits[:, 0])]
        return [hit_of(one, share) for one, share in zip(found, shares, strict=True)]

    def paths(self, sha256: str) -> list[Path]:
        """Return the files with this content, as `Hit.sha256` names it; none for any other text.

        Args:
            sha256: the hash of a file, in hexadecimal.
        """
        try:
            return [Path(os.fsdecode(path)) for path in self._store.paths_of(bytes.fromhex(sha256))]
        except ValueError:
            return []

    def duplicates(
        self, *, threshold: float = THRESHOLD, on_progress: Callable[[int], object] | None = None
    ) -> list[DuplicateGroup]:
        """Return groups of identical files, of identical pixels and of similar images. Deletes nothing.

        Args:
            threshold: the lowest cosine of similar images.
            on_progress: called with the number of images that were compared with all others.

        Raises:
            ValueError: if the threshold is not between 0 and 1.
        """
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold={threshold} is not a cosine above 0, up to 1")
        return find_duplicates(*self._store.everything(), threshold, on_progress)

    def _is_other_model(self) -> bool:
        """Return True if the model that was asked for may not be that of the index."""
        return stored_source(self._source) != self._store.facts().get("model")

    def _query(self, texts: Sequence[str], images: Sequence[Any], without: Sequence[str]) -> np.ndarray:
        texts, images, without = list(texts), list(images), list(without)
        if not (texts or images or without):
            raise ValueError("there is nothing to search for; give a text or an image")
        for text in (*texts, *without):
            if not isinstance(text, str):
                raise TypeError(f"a text to search for is of type {type(text).__name__}; give strings")
        if not all(text.strip() for text in (*texts, *without)):
            raise ValueError("a text to search for is empty; give a text, or leave it out")
        added = [self.model.encode_texts(texts)] if texts else []
        if images:
            added.append(self.model.encode_images(images))
        return query_of(added, [self.model.encode_texts(without)] if without else [])
