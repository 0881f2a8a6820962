"""Image encoding at any scale: threads read and preprocess the next images while the model runs."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from clip_core.configuration.arguments import check_integers
from clip_core.images.pipeline import usable_threads
from clip_core.tasks.texts import NotFiniteError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from clip_core.backends import Encoder
    from clip_core.processing import CLIPProcessor

_BATCHES_AHEAD = 2  # one ready for the model and one in preparation
_IMAGE_AXES = (2, 3)  # height, width and channels; a batch has 4


class EncodedBatch(NamedTuple):
    """A batch of encoded images.

    Attributes:
        places: indices of the images among all given, ascending.
        embeds: `(batch, projection)`, float32, of unit norm.
    """

    places: list[int]
    embeds: np.ndarray


def encode_images(
    encoder: Encoder,
    processor: CLIPProcessor,
    images: Iterable[Any],
    *,
    batch_size: int = 32,
    num_threads: int | None = None,
    on_error: Callable[[int, ValueError], object] | None = None,
) -> np.ndarray:
    """Encode images, in order: `(images, projection)`, float32, of unit norm.

    Args:
        encoder: the model.
        processor: the model's processor.
        images: paths, URLs, PIL images or arrays, one at a time. A generator is consumed lazily: at most three batches
            are in memory.
        batch_size: images the model takes at a time.
        num_threads: threads that read and preprocess images; None for one per processor, up to 8.
        on_error: called with the index and the error of an image that is unreadable, or whose embedding is not finite;
            the image is then omitted. By default, the first such image raises an error.

    Returns:
        Embeddings of unit norm `(images, projection)`, float32.

    Raises:
        ValueError: if there are no images, or one cannot be read or processed, or its embedding is not finite; the
            message names its index, and its path if it could not be read.
    """
    batches = encode_image_batches(
        encoder, processor, images, batch_size=batch_size, num_threads=num_threads, on_error=on_error
    )
    embeds = [batch.embeds for batch in batches]
    if not embeds:
        raise ValueError("images contains no readable image; give at least one")
    return np.concatenate(embeds)


def encode_image_batches(
    encoder: Encoder,
    processor: CLIPProcessor,
    images: Iterable[Any],
    *,
    batch_size: int = 32,
    num_threads: int | None = None,
    on_error: Callable[[int, ValueError], object] | None = None,
) -> Iterator[EncodedBatch]:
    """Encode images like `encode_images`, but yield one batch at a time, for more embeddings than fit in memory.

    Args:
        encoder: as in `encode_images`, like all other arguments.
        processor: the model's processor.
        images: paths, URLs, PIL images or arrays.
        batch_size: images the model takes at a time.
        num_threads: threads that read and preprocess.
        on_error: called with the index and the error of an unreadable image, or one whose embedding is not finite.

    Yields:
        Batches of embeddings, with the indices of their images.

    Raises:
        TypeError: if `images` is a single image.
        ValueError: as in `encode_images`.
    """
    check_several_images(images)
    check_integers(batch_size=(batch_size, 1))
    check_integers(num_threads=(num_threads, 1), optional=True)
    pixels = _in_order(partial(_pixel_values, processor), images, batch_size * _BATCHES_AHEAD, num_threads)
    return _encoded(encoder, pixels, batch_size, on_error)


def check_several_images(images: Any) -> None:
    """Check that an argument holds several images: a single one would be taken for its rows or letters.

    Args:
        images: the argument `images` of a task.

    Raises:
        TypeError: if it is a path, a PIL image, or an array with the axes of one image.
    """
    if isinstance(images, (str, bytes, Path, Image.Image)) or getattr(images, "ndim", None) in _IMAGE_AXES:
        raise TypeError(f"images is a single image, of type {type(images).__name__}; give a list or another iterable")


def _encoded(
    encoder: Encoder,
    pixels: Generator[np.ndarray | ValueError],
    batch_size: int,
    on_error: Callable[[int, ValueError], object] | None,
) -> Iterator[EncodedBatch]:
    batch: dict[int, np.ndarray] = {}
    with closing(pixels):  # also stops the threads after an error
        for place, outcome in enumerate(pixels):
            if isinstance(outcome, np.ndarray):
                batch[place] = outcome
            elif on_error is None:
                raise outcome
            else:
                on_error(place, outcome)
            if len(batch) == batch_size:
                yield from _finite(_encode(encoder, batch), on_error)
                batch = {}
    if batch:
        yield from _finite(_encode(encoder, batch), on_error)


def _finite(batch: EncodedBatch, on_error: Callable[[int, ValueError], object] | None) -> Iterator[EncodedBatch]:
    """Yield the embeddings that are finite, if any."""
    is_finite = np.isfinite(batch.embeds).all(axis=-1)
    for row in np.flatnonzero(~is_finite):
        place = batch.places[row]
        error = NotFiniteError(f"images[{place}]: its embedding")
        if on_error is None:
            raise error
        on_error(place, error)
    if is_finite.any():
        yield EncodedBatch([batch.places[row] for row in np.flatnonzero(is_finite)], batch.embeds[is_finite])


def _encode(encoder: Encoder, batch: dict[int, np.ndarray]) -> EncodedBatch:
    (first, pixels), *others = batch.items()
    for place, other in others:
        if other.shape != pixels.shape:
            raise ValueError(
                f"images[{first}] has shape {pixels.shape[1:]} after processing, but images[{place}] has "
                f"{other.shape[1:]}; let the processor crop them, or resize them to one height and width"
            )
    return EncodedBatch(list(batch), encoder.encode_images(np.concatenate(list(batch.values()))))


def _pixel_values(processor: CLIPProcessor, place: int, image: Any) -> np.ndarray | ValueError:
    """Return an image as model input, `(1, channels, height, width)`, or the error that it caused."""
    try:
        pixels: np.ndarray = processor(images=[image], return_tensors="np")["pixel_values"]
        if len(pixels) != 1:
            return ValueError(f"images[{place}] is a batch of {len(pixels)}; give single images")
    except ValueError as error:
        return ValueError(str(error).replace("images[0]", f"images[{place}]", 1))
    except TypeError as error:
        raise TypeError(str(error).replace("images[0]", f"images[{place}]", 1)) from error
    return pixels


def _in_order(
    process: Callable[[int, Any], np.ndarray | ValueError], images: Iterable[Any], ahead: int, num_threads: int | None
) -> Generator[np.ndarray | ValueError]:
    """Yield the results of `process` in the order of the images, with up to `ahead` of them in progress."""
    numbered = enumerate(images)
    pool = ThreadPoolExecutor(num_threads or usable_threads(), "clip-encode-images")
    try:
        waiting = deque(pool.submit(process, *item) for item in islice(numbered, ahead))
        while waiting:
            outcome = waiting.popleft().result()
            waiting.extend(pool.submit(process, *item) for item in islice(numbered, 1))
            yield outcome
    finally:
        pool.shutdown(cancel_futures=True)
