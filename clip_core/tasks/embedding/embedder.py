"""The work on one piece of a source, the same in every engine: read its images, encode them, and write the part."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from clip_core.hub.printing import printable, reason_of
from clip_core.images.decoding import decode_image
from clip_core.tasks.embedding.manifest import is_done
from clip_core.tasks.embedding.parts import PartResult, PartWriter
from clip_core.tasks.images import encode_image_batches
from clip_core.tasks.search.identity import check_model
from clip_core.tasks.search.reading import row_of_image
from clip_core.tasks.texts import NotFiniteError
from clip_core.tasks.zero_shot import ZeroShotClassifier

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from clip_core.processing import CLIPProcessor
    from clip_core.tasks.embedding.pieces import Picture, Piece, Source
    from clip_core.tasks.embedding.places import Location
    from clip_core.tasks.search.rows import IndexedImage

Item = TypeVar("Item")


@dataclass(frozen=True)
class ModelSettings:
    """The model of a job, as every process loads it.

    Attributes:
        source: a local folder or a hub id.
        backend: the framework.
        device: the device; None for the best available.
        dtype: dtype of the weights; None for float32.
        batch_size: images to encode at a time.
        num_threads: threads that read and preprocess; None for one per processor, up to 8.
        options: hub options.
    """

    source: str
    backend: str
    device: str | None = None
    dtype: str | None = None
    batch_size: int = 32
    num_threads: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def load(self) -> ZeroShotClassifier:
        """Load the model."""
        return ZeroShotClassifier.from_pretrained(
            self.source, backend=self.backend, device=self.device, dtype=self.dtype, **self.options
        )


@dataclass(frozen=True)
class Embedder:
    """A model at work on a source and a dataset.

    Attributes:
        model: the model.
        settings: its settings.
        source: the source of the images.
        place: the folder of the dataset.
        facts: the manifest of the dataset.
    """

    model: ZeroShotClassifier
    settings: ModelSettings
    source: Source
    place: Location
    facts: dict[str, Any]

    @classmethod
    def load(cls, settings: ModelSettings, source: Source, place: Location, facts: dict[str, Any]) -> Embedder:
        """Load the model, and check that it is the one of the dataset.

        Args:
            settings: the model.
            source: the source of the images.
            place: the folder of the dataset.
            facts: its manifest.

        Raises:
            OtherModelError: if it is another model.
        """
        model = settings.load()
        check_model(model, settings.source, settings.dtype, facts, "dataset")
        return cls(model.prepared(), settings, source, place, facts)

    def __call__(self, piece: Piece) -> PartResult:
        """Write the part of a piece, unless it is there.

        Args:
            piece: the piece.

        Returns:
            The counts; if a file of the source is damaged, the error, and then nothing is written.
        """
        start = time.monotonic()
        if is_done(self.place, piece):  # by a process that died before it reported the part
            return PartResult(piece.name)
        with PartWriter(self.place, self.source, piece, self.facts["embedding_dtype"]) as part:
            reader = _PictureReader(self.model.processor, self.source)
            waiting: dict[int, Picture] = {}

            def pictures() -> Generator[Picture]:
                try:
                    for place, picture in enumerate(self.source.pictures(piece)):
                        waiting[place] = picture._replace(content=None)
                        yield picture
                except ValueError as error:
                    raise _PieceError(str(error)) from error

            def skip(place: int, error: ValueError) -> None:
                picture, reason = waiting.pop(place), str(error).removeprefix(f"images[{place}]: ")
                if isinstance(error, NotFiniteError):  # those of reading name the file
                    reason = f"{picture.path}: {reason}"
                part.fail(picture, printable(reason))

            try:
                for batch in encode_image_batches(
                    self.model.encoder,
                    reader,  # type: ignore[arg-type]  # called like a processor
                    read_ahead(pictures(), self.settings.batch_size),
                    batch_size=self.settings.batch_size,
                    num_threads=self.settings.num_threads,
                    on_error=skip,
                ):
                    done = [waiting.pop(place) for place in batch.places]
                    part.add([(picture, reader.row_of(picture)) for picture in done], batch.embeds)
            except _PieceError as error:
                return PartResult(piece.name, error=str(error))
            result = part.finish(self.facts["dim"])
            return result._replace(seconds=time.monotonic() - start)


def read_ahead(items: Generator[Item], count: int) -> Iterator[Item]:
    """Yield items that a thread reads ahead, so that a slow source and the model work at the same time.

    Args:
        items: the items.
        count: the number of them to read ahead.
    """
    end = object()
    pool = ThreadPoolExecutor(1, "clip-embed-read")
    with closing(items):
        try:
            waiting = deque(pool.submit(next, items, end) for _ in range(count))
            while (item := waiting.popleft().result()) is not end:
                waiting.append(pool.submit(next, items, end))
                yield item  # type: ignore[misc]  # it is not the end
        finally:
            pool.shutdown(cancel_futures=True)


class _PieceError(Exception):
    """A failure of a piece as a whole, which the next run tries again."""


class _PictureReader:
    """A processor of pictures that also notes the facts about each. Several threads may call it at once.

    Args:
        processor: the model's processor.
        source: the source of the pictures.
    """

    def __init__(self, processor: CLIPProcessor, source: Source) -> None:
        self._processor, self._source = processor, source
        self._rows: dict[str, IndexedImage] = {}
        self._lock = threading.Lock()

    def __call__(self, images: list[Picture], **options: Any) -> Any:
        """Return the model's input for one picture, alone in a list; raise a ValueError if it cannot be read."""
        (picture,) = images
        try:
            content, changed = self._source.read(picture)
        except (FileNotFoundError, PermissionError) as error:
            raise ValueError(f"{picture.path}: {reason_of(error)}") from error
        except OSError as error:
            told = f"{picture.path}: {reason_of(error)}"
            if not self._source.place.is_local:  # the network may be back in the next run
                raise _PieceError(told) from error
            raise ValueError(told) from error
        image = decode_image(content, picture.path)
        batch = self._processor(images=[image], **options)
        row = row_of_image(os.fsencode(picture.path), content, image, changed)
        with self._lock:
            self._rows[picture.id] = row
        return batch

    def row_of(self, picture: Picture) -> IndexedImage:
        """Return the facts about a picture that was read, and forget them."""
        with self._lock:
            return self._rows.pop(picture.id)
