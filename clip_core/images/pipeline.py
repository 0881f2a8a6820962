"""Image pipeline: applies the steps in the settings to the images of a call, one by one."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, islice, starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from clip_core.images.depth import is_deep, warn_of_clipping
from clip_core.images.inputs import errors_named, flat_sources, opened
from clip_core.images.transforms import (
    LAST,
    check_channel_format,
    from_channels_last,
    infer_channel_format,
    to_channels_last,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clip_core.images.inputs import Source
    from clip_core.images.settings import ImageSettings
    from clip_core.images.transforms import ChannelFormat

_MOST_THREADS = 8

# Stack frames between a warning and the caller of an image processor: the generators, `preprocess` and `__call__`.
_TO_THE_CALLER = 7


def process_images(
    images: Any,
    settings: ImageSettings,
    input_format: ChannelFormat | None,
    output_format: ChannelFormat | None,
    num_threads: int | None = 1,
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name of each image of `flat_sources`, and the array that the settings produce from it.

    Args:
        images: see `flat_sources`.
        settings: the steps to apply.
        input_format: the channel axis of arrays; None to infer it from the first array, for all. PIL images and files
            always have their channels last.
        output_format: the channel axis of the results; None to keep that of the input.
        num_threads: number of threads to use; None for the largest useful number.

    Raises:
        TypeError: if an item is not an image.
        ValueError: if an image cannot be read or processed; the message names it.
    """
    process = partial(_process, settings=settings, output_format=output_format)
    sources = _with_formats(_with_warnings(flat_sources(images), settings), input_format)
    yield from _in_threads(process, sources, num_threads)


def usable_threads() -> int:
    """Return the useful number of threads: one per processor of this process, up to what Python can keep busy."""
    affinity = getattr(os, "sched_getaffinity", None)  # not available on every system
    processors = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(processors, _MOST_THREADS)


def on_channels_last(
    step: Callable[[np.ndarray], np.ndarray], image: np.ndarray, data_format: object, input_data_format: object
) -> np.ndarray:
    """Apply a step written for channels-last arrays to an array in either channel format.

    Args:
        step: maps `(height, width, channels)` to the same layout.
        image: the array.
        data_format: the channel format of the result; None to keep that of the input.
        input_data_format: the channel format of `image`; None to infer it.
    """
    input_format = check_channel_format(input_data_format, "input_data_format") or infer_channel_format(image.shape)
    output_format = check_channel_format(data_format, "data_format") or input_format
    return from_channels_last(step(to_channels_last(image, input_format)), output_format)


def _with_formats(
    sources: Iterator[tuple[str, Source]], array_format: ChannelFormat | None
) -> Iterator[tuple[str, Source, ChannelFormat]]:
    """Yield each source with its channel format. The format of arrays is that of the first array unless given."""
    for name, source in sources:
        if not isinstance(source, np.ndarray):
            yield name, source, LAST
            continue
        if array_format is None:
            with errors_named(name):
                array_format = infer_channel_format(source.shape)
        yield name, source, array_format


def _with_warnings(sources: Iterator[tuple[str, Source]], settings: ImageSettings) -> Iterator[tuple[str, Source]]:
    """Yield the sources. Warn if the first image seems rescaled already, and about the first that will be clipped."""
    has_warned = False
    for place, (name, source) in enumerate(sources):
        if settings.do_convert_rgb and isinstance(source, Image.Image) and is_deep(source):
            if not has_warned:
                warn_of_clipping(source, _TO_THE_CALLER)
            has_warned = True
        elif place == 0 and settings.do_rescale and not isinstance(source, (str, Path)):
            _warn_if_rescaled(source)
        yield name, source


def _process(
    name: str,
    source: Source,
    input_format: ChannelFormat,
    settings: ImageSettings,
    output_format: ChannelFormat | None,
) -> tuple[str, np.ndarray]:
    name, image = opened(name, source)
    with errors_named(name):
        pixels = _as_pixels(image, convert_rgb=settings.do_convert_rgb)
        # If it will be resized, a PIL image need not be converted to an array.
        if isinstance(pixels, np.ndarray) or not settings.do_resize:
            pixels = to_channels_last(np.asarray(pixels), input_format)
        processed = from_channels_last(settings.apply(pixels), output_format or input_format)
    return name, np.require(processed, requirements=("C_CONTIGUOUS", "WRITEABLE"))


def _in_threads(
    process: Callable[[str, Source, ChannelFormat], tuple[str, np.ndarray]],
    sources: Iterator[tuple[str, Source, ChannelFormat]],
    num_threads: int | None,
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the results of `process` in the order of the sources."""
    some = list(islice(sources, 2))
    sources = chain(some, sources)
    count = 1 if len(some) == 1 else num_threads or usable_threads()
    if count == 1:
        yield from starmap(process, sources)
        return
    with ThreadPoolExecutor(count, "clip-images") as pool:
        yield from pool.map(lambda source: process(*source), sources)


def _as_pixels(image: Image.Image | np.ndarray, *, convert_rgb: bool) -> Image.Image | np.ndarray:
    """Return an RGB image, or an array unchanged."""
    if isinstance(image, Image.Image):
        if image.width == 0 or image.height == 0:
            raise ValueError(f"an image of {image.width} by {image.height} has no pixels")
        try:
            image.load()
        except AssertionError as error:  # Pillow gives no other hint
            raise ValueError("the image's file was closed before its pixels were read") from error
        if convert_rgb and image.mode != "RGB":
            image = image.convert("RGB")
        if image.mode != "RGB":
            return np.asarray(image)
    return image


def _warn_if_rescaled(image: Image.Image | np.ndarray) -> None:
    if isinstance(image, Image.Image) and not is_deep(image):
        return
    pixels = np.asarray(image)
    if pixels.size and pixels.dtype != np.uint8 and pixels.min() >= 0 and pixels.max() <= 1:
        warnings.warn(
            "the images' values range from 0 to 1 so they may already be rescaled; if they are, pass do_rescale=False",
            stacklevel=_TO_THE_CALLER + 1,
        )
