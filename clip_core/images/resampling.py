"""Pillow's bicubic resizing of RGB bytes, as matrix products, limited to the part that a crop keeps.

Pillow resizes along the rows, rounds to bytes, and then resizes down the columns, or the other way round
(`Resample.c`). Each output is a weighted sum of bytes; the weights are integers in units of 2**-22. BLAS computes many
such sums at once, and rows and columns that the crop discards are not computed. (Pillow accepts the crop as a box but
stores it in single precision, which makes some pixels off by one.)

The sums are computed in float32, with a known error bound. A few sums, about one in several thousand, lie within that
bound of a rounding boundary. They are recomputed in float64, which is exact in any order of summation. All bytes
therefore equal Pillow's.

Most weights are zero, so outputs are computed in blocks of neighbours, each from its own part of the input.
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
_A = -0.5  # the filter's parameter
_ONE = 1 << 22  # Pillow's fixed-point unit of the weights

_BLOCK = 16  # outputs per block: larger blocks waste multiplications by zero, smaller ones waste calls
_STRIP = 1 << 18  # pixels held as float32 at a time, small enough for the processor's cache
_FEW = 1 / 64  # uncertain sums up to this fraction are recomputed one by one

_scratch = threading.local()


class Axis(NamedTuple):
    """The weights that produce the outputs along one axis, in blocks of neighbours.

    Attributes:
        start: the first input used.
        stop: one past the last input used.
        outputs: number of outputs.
        starts: the first input of each block, relative to `start`.
        stops: one past the last input of each block, relative to `start`.
        weights: `(blocks, inputs, outputs)`, float32, which represents them exactly; zero-padded.
        doubt: the maximum error of a sum in float32.
    """

    start: int
    stop: int
    outputs: int
    starts: np.ndarray
    stops: np.ndarray
    weights: np.ndarray
    doubt: float


def resample_bicubic(
    image: Image.Image | np.ndarray, shape: tuple[int, int], rows: range, columns: range, *, down_first: bool
) -> np.ndarray:
    """Return a part of `image.resize(shape[::-1], Image.Resampling.BICUBIC)`.

    Args:
        image: an RGB image, or its array `(height, width, 3)`, uint8.
        shape: `(height, width)` of the whole result.
        rows: the rows of the result to return.
        columns: the columns of the result to return.
        down_first: resize down the columns first, then along the rows.

    Returns:
        An array `(rows, columns, 3)`, uint8, with channels first in memory.
    """
    height, width = (image.height, image.width) if isinstance(image, Image.Image) else image.shape[:2]
    down = resampling_axis(height, shape[0], rows.start, rows.stop)
    along = resampling_axis(width, shape[1], columns.start, columns.stop)
    source = image if isinstance(image, Image.Image) else image.transpose(2, 0, 1)
    inner_rows, inner_columns = range(down.start, down.stop), range(along.start, along.stop)
    if down_first:
        between = _resize(source, down, inner_columns, inner_rows, is_down=True)
        resized = _resize(between, along, range(len(rows)), range(len(inner_columns)))
    else:
        between = _resize(source, along, inner_rows, inner_columns)
        resized = _resize(between, down, range(len(columns)), range(len(inner_rows)), is_down=True)
    return resized.transpose(1, 2, 0)


def goes_down_first(shape: tuple[int, int], new_shape: tuple[int, int]) -> bool | None:
    """Return True if the installed Pillow resizes down the columns first for these `(height, width)`.

    Pillow 13 does so if the height shrinks by more than twice as much as the width; earlier versions never do.

    Args:
        shape: `(height, width)` of the image.
        new_shape: `(height, width)` of the result.

    Returns:
        True or False; None if the installed Pillow's values differ from those computed here, as in some builds.
    """
    may_go_down_first = _checked_with_pillow()
    return may_go_down_first and _shrinks_down(shape, new_shape)


def _shrinks_down(shape: tuple[int, int], new_shape: tuple[int, int]) -> bool:
    down, along = shape[0] - new_shape[0], shape[1] - new_shape[1]
    return down > max(0, 2 * along)


@cache
def _checked_with_pillow() -> bool | None:
    """Return True if the installed Pillow ever goes down first; None if it matches neither order."""
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
    """Compute the weights of outputs `first` to `last` (exclusive) when `length` inputs become `new_length` outputs.

    Args:
        length: length of the input.
        new_length: length of the whole output.
        first: the first output wanted.
        last: one past the last output wanted.
    """
    begins, ends, weights = _weights(length, new_length, np.arange(first, last))
    count, start = last - first, int(begins[0])
    starts = begins[::_BLOCK]
    stops = ends[np.minimum(np.arange(_BLOCK - 1, count + _BLOCK - 1, _BLOCK), count - 1)]
    blocks = np.zeros((len(starts), (stops - starts).max(), _BLOCK), np.float32)
    block, place = np.divmod(np.arange(count), _BLOCK)
    output, tap = np.nonzero(weights)
    blocks[block[output], begins[output] - starts[block[output]] + tap, place[output]] = weights[output, tap]
    # The error of a sum of n products is at most n rounding units of the sum of their magnitudes (Higham, "Accuracy and
    # Stability of Numerical Algorithms", 3.1), plus one unit of 256 for each of the two additions in _round.
    unit = np.finfo(np.float32).eps / 2
    doubt = unit * (255 * (weights.shape[1] + 1) * np.abs(weights).sum(axis=1).max() + 2 * 256)
    return Axis(start, int(ends[-1]), count, starts - start, stops - start, blocks, float(doubt))


def _weights(length: int, new_length: int, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each output's first input, one past its last, and the weights, with Pillow's operations in its order.

    Rows of the weights are zero-padded.
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
    sums = np.cumsum(weights, axis=1)[:, -1:]  # summed sequentially, unlike np.sum
    weights = weights / sums * _ONE
    return begins, ends, np.trunc(weights + np.copysign(0.5, weights)) / _ONE


def _bicubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    near = ((_A + 2) * x - (_A + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * _A
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _resize(
    image: Image.Image | np.ndarray, axis: Axis, lines: range, inputs: range, *, is_down: bool = False
) -> np.ndarray:
    """Resize along the rows, or down the columns: bytes `(3, rows, columns)`.

    Args:
        image: an image, or bytes `(3, height, width)`.
        axis: the weights for each line.
        lines: the rows to produce; the columns if `is_down`.
        inputs: the part of each line that `axis` covers.
        is_down: the lines are columns.
    """

    def turned(array: np.ndarray) -> np.ndarray:
        """Transpose `(3, rows, columns)` to `(3, lines, inputs)`, or back."""
        return array.transpose(0, 2, 1) if is_down else array

    def laid_out(first: int, second: int) -> tuple[int, int, int]:
        return (3, second, first) if is_down else (3, first, second)

    resized = np.empty(laid_out(len(lines), axis.outputs), np.uint8)
    for part in _parts(lines, len(inputs)):
        strip = turned(_values(image, inputs, part) if is_down else _values(image, part, inputs))
        sums = turned(_buffer("sums", laid_out(len(part), axis.outputs)))
        into = turned(resized)[:, part.start - lines.start : part.stop - lines.start]
        _resize_strip(strip, axis, sums, into)
    return resized


def _resize_strip(strip: np.ndarray, axis: Axis, sums: np.ndarray, into: np.ndarray) -> None:
    """Resize `(3, lines, inputs)`, float32, to bytes `(3, lines, outputs)`; `sums` is scratch memory of that shape."""
    if axis.doubt < 0.5:  # half a unit
        _multiply(strip, axis, sums)
        doubtful = _nonzero(_round(sums, axis.doubt, into))
        if len(doubtful[0]) <= _FEW * into.size:
            into[doubtful] = _one_by_one(strip, axis, *doubtful)
            return
    # Thousands of inputs per output; or a chessboard pattern, whose outputs lie between 127 and 128 nearly everywhere.
    sums = np.empty(into.shape)
    _multiply(strip.astype(np.float64), axis, sums)
    _round(sums, 0.0, into)


def _multiply(strip: np.ndarray, axis: Axis, sums: np.ndarray) -> None:
    """Compute the sums `(3, lines, outputs)` of the bytes `(3, lines, inputs)`, in the dtype of both."""
    for index, (start, stop) in enumerate(zip(axis.starts, axis.stops, strict=True)):
        first, end = index * _BLOCK, min(index * _BLOCK + _BLOCK, axis.outputs)
        weights = axis.weights[index, : stop - start, : end - first].astype(sums.dtype, copy=False)
        np.matmul(strip[..., start:stop], weights, out=sums[..., first:end])


def _round(sums: np.ndarray, doubt: float, into: np.ndarray) -> np.ndarray:
    """Round to the nearest byte, halves up; return a mask of the sums that an error of up to `doubt` could change.

    Overwrites `sums`.
    """
    np.add(sums, sums.dtype.type(0.5 - doubt), out=sums)
    np.clip(sums, 0, 255, out=sums)
    np.copyto(into, sums, casting="unsafe")  # rounds down
    np.add(sums, sums.dtype.type(2 * doubt), out=sums)
    is_doubtful: np.ndarray = sums.astype(np.uint8) != into
    return is_doubtful


def _one_by_one(
    strip: np.ndarray, axis: Axis, channels: np.ndarray, lines: np.ndarray, outputs: np.ndarray
) -> np.ndarray:
    """Compute selected bytes one by one, from sums in float64."""
    block, place = np.divmod(outputs, _BLOCK)
    inputs = np.minimum(axis.starts[block, np.newaxis] + np.arange(axis.weights.shape[1]), strip.shape[2] - 1)
    values = strip[channels[:, np.newaxis], lines[:, np.newaxis], inputs]
    sums = np.einsum("oi,oi->o", values, axis.weights[block, :, place], dtype=np.float64)
    exact = np.empty(len(outputs), np.uint8)
    _round(sums, 0.0, exact)
    return exact


def _nonzero(mask: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return `np.nonzero` in memory order, which is many times faster for sparse masks."""
    order = sorted(range(mask.ndim), key=mask.strides.__getitem__, reverse=True)
    laid_out = mask.transpose(order)
    found = np.unravel_index(np.flatnonzero(laid_out), laid_out.shape)
    return tuple(found[order.index(axis)] for axis in range(mask.ndim))


def _parts(lines: range, length: int) -> Iterator[range]:
    """Yield ranges of rows or columns that are small enough to hold in memory at once."""
    count = max(1, _STRIP // length)
    return (lines[first : first + count] for first in range(0, len(lines), count))


def _values(image: Image.Image | np.ndarray, rows: range, columns: range) -> np.ndarray:
    """Return a part of an image: `(3, rows, columns)`, float32."""
    values = _buffer("values", (3, len(rows), len(columns)))
    if isinstance(image, Image.Image):
        part = image.crop((columns.start, rows.start, columns.stop, rows.stop))
        for channel, name in enumerate("RGB"):
            values[channel] = np.frombuffer(part.tobytes("raw", name), np.uint8).reshape(values.shape[1:])
    else:
        values[...] = image[:, rows.start : rows.stop, columns.start : columns.stop]
    return values


def _buffer(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return scratch memory of this thread, reused across calls, because allocating it costs more than filling it."""
    size = int(np.prod(shape))
    buffer = getattr(_scratch, name, None)
    if buffer is None or buffer.size < size:
        buffer = np.empty(size, np.float32)
        setattr(_scratch, name, buffer)
    view: np.ndarray = buffer[:size].reshape(shape)
    return view
