"""Pictures to embeddings, as many as come: threads read and preprocess the next ones while the model runs."""

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

from clip_core.images.pipeline import usable_threads
from clip_core.images.transforms import LAST

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from clip_core.backends import Encoder
    from clip_core.processing import CLIPProcessor

_BATCHES_AHEAD = 2  # one that is ready when the model is, and one that is being made


class EncodedBatch(NamedTuple):
    """Some of the images, encoded.

    Attributes:
        places: of the images among all that were given, ascending.
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
    """The embeddings of images, in their order: `(images, projection)`, float32, of unit norm.

    Args:
        encoder: the model.
        processor: its processor.
        images: paths, addresses, pictures of Pillow or arrays, one at a time; a generator is read as it is needed, and
            no more than three batches are in memory.
        batch_size: images that the model takes at a time.
        num_threads: that read and preprocess; None for as many as there are processors, up to 8.
        on_error: called with the place of an image that cannot be read and what is wrong with it; the image is then
            left out. Without, the first such image is an error.

    Raises:
        ValueError: an image cannot be read or processed (the message names it by place and path), or there is none.
    """
    batches = encode_image_batches(
        encoder, processor, images, batch_size=batch_size, num_threads=num_threads, on_error=on_error
    )
    embeds = [batch.embeds for batch in batches]
    if not embeds:
        raise ValueError("there are no images that can be read; give at least one")
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
    """As `encode_images`, a batch at a time, for more embeddings than memory holds."""
    if isinstance(images, (str, Path, Image.Image)):
        raise TypeError(
            f"images is one image, of type {type(images).__name__}; give a list or another iterable of them"
        )
    for name, number in (("batch_size", batch_size), ("num_threads", num_threads)):
        if number is not None and number < 1:
            raise ValueError(f"{name}={number}: give a whole number from 1 up")
    pixels = _in_order(partial(_pixel_values, processor), images, batch_size * _BATCHES_AHEAD, num_threads)
    return _encoded(encoder, pixels, batch_size, on_error)


def _encoded(
    encoder: Encoder,
    pixels: Generator[np.ndarray | ValueError],
    batch_size: int,
    on_error: Callable[[int, ValueError], object] | None,
) -> Iterator[EncodedBatch]:
    batch: dict[int, np.ndarray] = {}
    with closing(pixels):  # and with them the threads, whatever ends this
        for place, outcome in enumerate(pixels):
            if isinstance(outcome, np.ndarray):
                batch[place] = outcome
            elif on_error is None:
                raise outcome
            else:
                on_error(place, outcome)
            if len(batch) == batch_size:
                yield _encode(encoder, batch)
                batch = {}
    if batch:
        yield _encode(encoder, batch)


def _encode(encoder: Encoder, batch: dict[int, np.ndarray]) -> EncodedBatch:
    (first, pixels), *others = batch.items()
    for place, other in others:
        if other.shape != pixels.shape:
            raise ValueError(
                f"images[{first}] came out in shape {pixels.shape[1:]} and images[{place}] in {other.shape[1:]}, which "
                "make no batch; let the processor crop them, or resize them to a height and a width"
            )
    return EncodedBatch(list(batch), encoder.encode_images(np.concatenate(list(batch.values()))))


def _pixel_values(processor: CLIPProcessor, place: int, image: Any) -> np.ndarray | ValueError:
    """The image as the model takes it, `(1, channels, height, width)`, or what is wrong with it."""
    # In an array of 1 or 3 rows the channels may be first or last; in a picture there is no doubt.
    known = {"input_data_format": LAST} if isinstance(image, (str, Path, Image.Image)) else {}
    try:
        pixels: np.ndarray = processor(images=[image], return_tensors="np", **known)["pixel_values"]
        if len(pixels) != 1:
            return ValueError(f"images[{place}] is a batch of {len(pixels)}; give images one at a time")
    except ValueError as error:
        return ValueError(str(error).replace("images[0]", f"images[{place}]", 1))
    except TypeError as error:
        raise TypeError(str(error).replace("images[0]", f"images[{place}]", 1)) from error
    return pixels


def _in_order(
    process: Callable[[int, Any], np.ndarray | ValueError], images: Iterable[Any], ahead: int, num_threads: int | None
) -> Generator[np.ndarray | ValueError]:
    """What `process` makes of each image, in their order; at most `ahead` are begun before they are asked for."""
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
