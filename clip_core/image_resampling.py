"""Pillow's bicubic resizing of RGB bytes, as products of matrices, and of that part alone which a crop will keep.

Pillow resizes along the rows, rounds to bytes, and resizes down the columns, or the other way round (`Resample.c`). A
new value is a sum of bytes times weights, which are whole numbers in units of 2**-22. Such sums are exact in float64
in whatever order they are taken, so that the numbers here are Pillow's to the bit, while BLAS finds them several at a
time, and no row or column is computed that the crop would cut off. (Pillow could be given the box of the crop; but it
holds a box in single precision, and some pixels then come out one off.)

Most weights are zero. The outputs are therefore taken in blocks of neighbours, each from its own stretch of the input.
"""

from __future__ import annotations

import threading
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

_SUPPORT = 2.0  # of the bicubic filter, in pixels to either side
_A = -0.5  # its parameter
_ONE = 1 << 22  # Pillow's unit of the weights

_BLOCK = 8  # outputs that are computed together: more waste multiplications by zero, fewer waste calls
_STRIP = 1 << 17  # pixels that are held as float64 at a time: they are to stay in the processor's cache

_scratch = threading.local()


class Block(NamedTuple):
    """Some neighbouring outputs, and what they are made of.

    Attributes:
        source: their inputs, counted from the axis's `start`.
        target: where they are among the outputs.
        weights: `(source, target)`, float64.
    """

    source: slice
    target: slice
    weights: np.ndarray


class Axis(NamedTuple):
    """How outputs along one axis are made.

    Attributes:
        start: the first input that counts.
        stop: one past the last.
        blocks: all outputs in order.
    """

    start: int
    stop: int
    blocks: tuple[Block, ...]


def resample_bicubic(
    image: Image.Image | np.ndarray, shape: tuple[int, int], rows: range, columns: range, *, down_first: bool
) -> np.ndarray:
    """A part of `image.resize(shape[::-1], Image.Resampling.BICUBIC)`.

    Args:
        image: an RGB picture, or its array `(height, width, 3)`, uint8.
        shape: `(height, width)` of the whole result.
        rows: those of the result that are wanted.
        columns: likewise.
        down_first: whether to resize down the columns before along the rows.

    Returns:
        An array `(rows, columns, 3)`, uint8, laid out with the channels first in memory.
    """
    height, width = (image.height, image.width) if isinstance(image, Image.Image) else image.shape[:2]
    down = resampling_axis(height, shape[0], rows.start, rows.stop)
    along = resampling_axis(width, shape[1], columns.start, columns.stop)
    source = image if isinstance(image, Image.Image) else image.transpose(2, 0, 1)
    inner_rows, inner_columns = range(down.stop - down.start), range(along.stop - along.start)
    if down_first:
        between = _resize_down(source, down, range(down.start, down.stop), range(along.start, along.stop))
        resized = _resize_along(between, along, range(len(rows)), inner_columns)
    else:
        between = _resize_along(source, along, range(down.start, down.stop), range(along.start, along.stop))
        resized = _resize_down(between, down, inner_rows, range(len(columns)))
    return resized.transpose(1, 2, 0)


def goes_down_first(shape: tuple[int, int], new_shape: tuple[int, int]) -> bool | None:
    """Whether the Pillow that is installed resizes down the columns first, from one `(height, width)` to another.

    Pillow 13 does where the height shrinks by more than twice what the width shrinks by; before, it never did.

    Returns:
        None if that Pillow's numbers are others than those computed here, as those of some builds are.
    """
    may_go_down_first = _checked_with_pillow()
    return may_go_down_first and _shrinks_down(shape, new_shape)


def _shrinks_down(shape: tuple[int, int], new_shape: tuple[int, int]) -> bool:
    down, along = shape[0] - new_shape[0], shape[1] - new_shape[1]
    return down > max(0, 2 * along)


@cache
def _checked_with_pillow() -> bool | None:
    """Whether the Pillow that is installed ever goes down first; None if it does not agree either way."""
    noise = np.random.default_rng(0).integers(0, 256, (61, 83, 3), dtype=np.uint8)
    new_shapes = ((23, 31), (23, 79), (23, 64), (22, 64), (97, 5), (70, 120), (60, 100))  # both sides of the rule

    def agrees(new_shape: tuple[int, int], may_go_down_first: bool) -> bool:
        down_first = may_go_down_first and _shrinks_down(noise.shape[:2], new_shape)
        found = resample_bicubic(noise, new_shape, *map(range, new_shape), down_first=down_first)
        expected = Image.fromarray(noise).resize(new_shape[::-1], Image.Resampling.BICUBIC)
        return np.array_equal(found, np.asarray(expected))

    return next((may for may in (True, False) if all(agrees(new_shape, may) for new_shape in new_shapes)), None)


@lru_cache(maxsize=128)
def resampling_axis(length: int, new_length: int, first: int, last: int) -> Axis:
    """The weights for the outputs from `first` to before `last`, of `new_length`, made of `length` inputs."""
    begins, ends, weights = _weights(length, new_length, np.arange(first, last))
    count = last - first
    starts = begins[::_BLOCK]
    stops = ends[np.minimum(np.arange(_BLOCK - 1, count + _BLOCK - 1, _BLOCK), count - 1)]
    matrices = np.zeros((len(starts), (stops - starts).max(), _BLOCK))
    block, place = np.divmod(np.arange(count), _BLOCK)
    output, tap = np.nonzero(weights)
    matrices[block[output], begins[output] - starts[block[output]] + tap, place[output]] = weights[output, tap]
    first_input = int(begins[0])
    return Axis(
        first_input,
        int(ends[-1]),
        tuple(
            Block(
                slice(int(start) - first_input, int(stop) - first_input),
                slice(index * _BLOCK, min(index * _BLOCK + _BLOCK, count)),
                matrices[index, : stop - start, : count - index * _BLOCK],
            )
            for index, (start, stop) in enumerate(zip(starts, stops, strict=True))
        ),
    )


def _weights(length: int, new_length: int, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each output its first input, one past its last, and their weights, by Pillow's own operations in its order.

    A row of the weights is filled up with zeros.
    """
    scale = length / new_length
    filter_scale = max(scale, 1.0)
    support = _SUPPORT * filter_scale
    centers = (outputs + 0.5) * scale
    begins = np.maximum((centers - support + 0.5).astype(np.int64), 0)
    ends = np.minimum((centers + support + 0.5).astype(np.int64), length)
    taps = np.arange((ends - begins).max())
    weights = _bicubic((taps + begins[:, None] - centers[:, None] + 0.5) * (1.0 / filter_scale))
    weights[taps >= (ends - begins)[:, None]] = 0
    sums = np.cumsum(weights, axis=1)[:, -1:]  # one after another, which np.sum would not do
    weights = weights / sums * _ONE
    return begins, ends, np.trunc(weights + np.copysign(0.5, weights)) / _ONE


def _bicubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    near = ((_A + 2) * x - (_A + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * _A
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _resize_along(image: Image.Image | np.ndarray, axis: Axis, rows: range, columns: range) -> np.ndarray:
    """The rows, made of the columns: bytes `(3, rows, outputs)`.

    Args:
        image: a picture, or bytes `(3, height, width)`.
        axis: what to make of the columns.
        rows: those that are wanted.
        columns: those that `axis` begins and ends with.
    """
    resized = np.empty((3, len(rows), axis.blocks[-1].target.stop), np.uint8)
    for part in _parts(rows, len(columns)):
        strip = _read(image, part, columns)
        sums = _buffer("sums", (3, len(part), resized.shape[2]))
        for block in axis.blocks:
            np.matmul(strip[..., block.source], block.weights, out=sums[..., block.target])
        _round(sums, resized[:, part.start - rows.start : part.stop - rows.start])
    return resized


def _resize_down(image: Image.Image | np.ndarray, axis: Axis, rows: range, columns: range) -> np.ndarray:
    """The columns, made of the rows: bytes `(3, outputs, columns)`. As above, the other way round."""
    resized = np.empty((3, axis.blocks[-1].target.stop, len(columns)), np.uint8)
    for part in _parts(columns, len(rows)):
        strip = _read(image, rows, part)
        sums = _buffer("sums", (3, resized.shape[1], len(part)))
        for block in axis.blocks:
            np.matmul(block.weights.T, strip[:, block.source], out=sums[:, block.target])
        _round(sums, resized[..., part.start - columns.start : part.stop - columns.start])
    return resized


def _parts(lines: range, length: int) -> Iterator[range]:
    """Rows or columns of some length, as many at a time as are to be held at once."""
    count = max(1, _STRIP // length)
    return (lines[first : first + count] for first in range(0, len(lines), count))


def _read(image: Image.Image | np.ndarray, rows: range, columns: range) -> np.ndarray:
    """A part of an image: `(3, rows, columns)`, float64."""
    values = _buffer("values", (3, len(rows), len(columns)))
    if isinstance(image, Image.Image):
        part = image.crop((columns.start, rows.start, columns.stop, rows.stop))
        for channel, name in enumerate("RGB"):
            values[channel] = np.frombuffer(part.tobytes("raw", name), np.uint8).reshape(values.shape[1:])
    else:
        values[...] = image[:, rows.start : rows.stop, columns.start : columns.stop]
    return values


def _round(sums: np.ndarray, into: np.ndarray) -> None:
    """To the nearest byte, halves up; `sums` are lost."""
    np.add(sums, 0.5, out=sums)
    np.clip(sums, 0, 255, out=sums)
    np.copyto(into, sums, casting="unsafe")  # which rounds down


def _buffer(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Memory of this thread, of a size that is soon the same for every call: new memory costs more than its filling."""
    size = int(np.prod(shape))
    buffer = getattr(_scratch, name, None)
    if buffer is None or buffer.size < size:
        buffer = np.empty(size)
        setattr(_scratch, name, buffer)
    view: np.ndarray = buffer[:size].reshape(shape)
    return view
