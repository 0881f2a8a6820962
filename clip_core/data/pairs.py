"""Image-caption pairs, the samples of a training source: indexed or streamed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from clip_core.processing.batch import framework_of, to_numpy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    ImageSource = Path | bytes | Image.Image | np.ndarray


LARGEST = 1 << 26  # bytes of an image file, or of a text beside it: 64 MiB


@dataclass(frozen=True)
class Pair:
    """An image and its captions; files are not read yet.

    Attributes:
        key: names the sample in messages: its file, or its table and line.
        image: a path, the bytes of an image file, a PIL image, or a uint8 array `(height, width[, channels])`.
        captions: one or more texts, from which training draws one; or the file that holds one.
    """

    key: str
    image: ImageSource
    captions: tuple[str, ...] | Path


@dataclass(frozen=True)
class Broken:
    """A sample that cannot be used.

    Attributes:
        key: as in `Pair`.
        reason: one line.
    """

    key: str
    reason: str


class IndexedPairs(ABC):
    """Pairs with random access, by index from 0."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int, /) -> Pair | Broken: ...


class StreamedPairs(ABC):
    """Pairs in shards, each read sequentially from its beginning."""

    @property
    @abstractmethod
    def sizes(self) -> Sequence[int]:
        """The number of samples in each shard.

        Raises:
            ValueError: if a shard cannot be read; the message names it.
        """

    @abstractmethod
    def read(self, shard: int, start: int, stop: int) -> Iterator[Pair | Broken]:
        """Yield samples `start` to `stop` (exclusive) of a shard.

        Args:
            shard: index of the shard.
            start: index of the first sample in the shard.
            stop: index after the last sample.

        Raises:
            ValueError: if the shard cannot be read or ends before `stop`; the message names it.
        """

    def __len__(self) -> int:
        return sum(self.sizes)


Pairs = IndexedPairs | StreamedPairs


def make_pair(key: str, image: Any, caption: Any, *, folder: Path | None = None) -> Pair | Broken:
    """Return the pair for a row of a table or a sample of a shard.

    Args:
        key: as in `Pair`.
        image: a path, bytes, a PIL image, an array of any framework, or a mapping with `bytes` or `path`, as the
            `datasets` library stores images.
        caption: one text, or several.
        folder: the base of relative paths.
    """
    try:
        source = _as_source(image, folder)
    except (OSError, SyntaxError, ValueError) as error:
        return Broken(key, str(error))
    if source is None:
        is_missing = image is None or isinstance(image, Mapping)
        return Broken(key, "there is no image" if is_missing else f"unsupported image of type {type(image).__name__}")
    captions = caption if isinstance(caption, (list, tuple)) else (caption,)
    if caption is None or not captions:
        return Broken(key, "there is no caption")
    for one in captions:
        if not isinstance(one, str):
            return Broken(key, f"the caption is of type {type(one).__name__}, not a string")
        if not one.strip():
            return Broken(key, "the caption is empty")
    return Pair(key, source, tuple(captions))


def _as_source(image: Any, folder: Path | None) -> ImageSource | None:
    if isinstance(image, Mapping):
        content = image.get("bytes")
        image = content if content is not None else image.get("path")
    if isinstance(image, str):
        image = Path(image)
    if isinstance(image, Path):
        return image if folder is None else folder / image
    if isinstance(image, (bytearray, memoryview)):
        return bytes(image)
    if isinstance(image, Image.Image):
        image.load()  # pickled to another process, unlike its open file
    if isinstance(image, (bytes, Image.Image)):
        return image
    return to_numpy(image) if framework_of(image) is not None else None
