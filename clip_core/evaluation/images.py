"""Image embeddings of a data source, from batches that worker processes decode."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clip_core.configuration.arguments import MOST_WORKERS, check_integers
from clip_core.data import Broken, IndexedPairs, Pair, PairLoader, StreamedPairs
from clip_core.data.preparation import captions_of
from clip_core.hub.printing import counted, printable
from clip_core.tasks.texts import check_finite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from clip_core.data.pairs import Pairs
    from clip_core.tasks.zero_shot import ZeroShotClassifier

_STAND_IN = ("a",)  # the loader requires a caption; texts are encoded separately, each once
_SHOWN = 5


@dataclass(frozen=True)
class EmbeddedImages:
    """Encoded images, in the order of the data.

    Attributes:
        embeds: `(images, projection)`, float32, of unit norm.
        texts: the captions of each image; for labelled images, the label.
        fingerprints: one per image; equal for images with equal pixels after processing.
        broken: the samples that could not be used.
    """

    embeds: np.ndarray
    texts: list[tuple[str, ...]]
    fingerprints: list[bytes]
    broken: list[Broken]


def embed_images(
    classifier: ZeroShotClassifier,
    pairs: Pairs,
    *,
    batch_size: int = 32,
    workers: int = 0,
    tell: Callable[[int], object] | None = None,
) -> EmbeddedImages:
    """Encode the images of a source, resized and cropped by the processor.

    Args:
        classifier: the model and its processor.
        pairs: a return value of `clip_core.data.open_pairs`.
        batch_size: images to encode at a time.
        workers: processes that decode; 0 to use this process only.
        tell: progress callback, called with the number of samples done since the last call.

    Raises:
        ValueError: if no sample can be used, or an embedding is not finite.
    """
    check_integers(batch_size=(batch_size, 1))
    check_integers(most=MOST_WORKERS, workers=(workers, 0))
    texts: dict[str, tuple[str, ...]] = {}
    noting = _NotedPairs(pairs, texts) if isinstance(pairs, IndexedPairs) else _NotedStream(pairs, texts)
    embeds: list[np.ndarray] = []
    keys: list[str] = []
    fingerprints: list[bytes] = []
    loader = PairLoader(
        noting,
        classifier.processor,
        batch_size=batch_size,
        max_length=_shortest(classifier),
        shuffle=False,
        drop_last=False,
        num_workers=workers,
        max_broken=len(pairs),  # never exceeded; the caller reports broken samples
    )
    reported = 0
    with closing(loader):
        for batch in loader:
            embeds.append(classifier.encoder.encode_images(batch["pixel_values"]))
            check_finite(embeds[-1], loader.samples)
            keys += loader.samples
            fingerprints += [hashlib.sha256(image).digest() for image in batch["pixel_values"]]
            if tell is not None:
                done = len(keys) + len(loader.broken)
                tell(done - reported)
                reported = done
        broken = loader.broken
    if not keys:
        raise ValueError(f"of {counted(len(pairs), 'sample')}, none can be used{_listed(broken)}")
    return EmbeddedImages(np.concatenate(embeds), [texts[key] for key in keys], fingerprints, broken)


class _Notes:
    """A recorder of captions by sample key; it makes the keys unique."""

    def __init__(self, texts: dict[str, tuple[str, ...]]) -> None:
        self._texts = texts

    def __call__(self, pair: Pair | Broken) -> Pair | Broken:
        if isinstance(pair, Broken):
            return pair
        try:
            captions = captions_of(pair)
        except (OSError, ValueError) as error:
            return Broken(pair.key, str(error))
        key = pair.key if pair.key not in self._texts else f"{pair.key} ({len(self._texts)})"
        self._texts[key] = captions
        return Pair(key, pair.image, _STAND_IN)


class _NotedPairs(IndexedPairs):
    def __init__(self, pairs: IndexedPairs, texts: dict[str, tuple[str, ...]]) -> None:
        self._pairs = pairs
        self._noted = _Notes(texts)

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int, /) -> Pair | Broken:
        return self._noted(self._pairs[index])


class _NotedStream(StreamedPairs):
    def __init__(self, pairs: StreamedPairs, texts: dict[str, tuple[str, ...]]) -> None:
        self._pairs = pairs
        self._noted = _Notes(texts)

    @property
    def sizes(self) -> Sequence[int]:
        return self._pairs.sizes

    def read(self, shard: int, start: int, stop: int) -> Iterator[Pair | Broken]:
        yield from map(self._noted, self._pairs.read(shard, start, stop))


def _shortest(classifier: ZeroShotClassifier) -> int:
    """Return the length that just fits the placeholder caption."""
    return int(classifier.processor.tokenizer.num_special_tokens_to_add()) + 1


def _listed(broken: Sequence[Broken]) -> str:
    first = "".join(f"\n  {printable(sample.key)}: {printable(sample.reason)}" for sample in broken[:_SHOWN])
    return f"; the first:{first}" if first else ""
