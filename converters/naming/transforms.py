"""Named transforms between the canonical layout of a tensor and its layout in a file.

A transform converts the canonical tensors of one row of rules to the single tensor of the file, and back. It is exact,
because it moves values without computing new ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from converters.tensors import Stored, TensorEntry, in_order, rearranged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Shape = tuple[int, ...]


@dataclass(frozen=True)
class Transform:
    """One way to lay out tensors in a file.

    Attributes:
        to_file: converts the canonical tensors to the one in the file; returns a view if possible.
        from_file: the inverse of `to_file`; returns views.
        file_shape: converts the canonical shapes to the shape in the file.
        canonical_shapes: the inverse of `file_shape`; None for a shape that the transform cannot produce.
    """

    to_file: Callable[[Sequence[np.ndarray]], np.ndarray]
    from_file: Callable[[np.ndarray], Sequence[np.ndarray]]
    file_shape: Callable[[Sequence[Shape]], Shape]
    canonical_shapes: Callable[[Shape], Sequence[Shape] | None]


def _permutation(*to_file: int) -> Transform:
    """Return the transform that permutes the axes."""
    back = tuple(int(axis) for axis in np.argsort(to_file))

    def reordered(shape: Shape, axes: tuple[int, ...]) -> Shape:
        return tuple(shape[axis] for axis in axes)

    return Transform(
        lambda arrays: arrays[0].transpose(to_file),
        lambda array: [array.transpose(back)],
        lambda shapes: reordered(shapes[0], to_file),
        lambda shape: [reordered(shape, back)] if len(shape) == len(back) else None,
    )


def _stack(count: int) -> Transform:
    """Return the transform that concatenates tensors along the first axis, such as the weights of q, k and v."""
    return Transform(
        np.concatenate,
        lambda array: np.split(array, count),
        lambda shapes: (sum(shape[0] for shape in shapes), *shapes[0][1:]),
        lambda shape: [(shape[0] // count, *shape[1:])] * count if shape and shape[0] % count == 0 else None,
    )


AS_IT_IS = "as it is"

TRANSFORMS = {
    AS_IT_IS: Transform(
        lambda arrays: arrays[0], lambda array: [array], lambda shapes: shapes[0], lambda shape: [shape]
    ),
    # A linear layer's (out, in) to (in, out).
    "transpose": _permutation(1, 0),
    # A convolution's (out, in, height, width) to (height, width, in, out).
    "OIHW to HWIO": _permutation(2, 3, 1, 0),
    # A scalar to a vector of one element.
    "scalar to vector": Transform(
        lambda arrays: arrays[0].reshape(1),
        lambda array: [array.reshape(())],
        lambda _: (1,),
        lambda shape: [()] if shape == (1,) else None,
    ),
    "q, k, v in one": _stack(3),
}


def from_stored(entry: TensorEntry, transform: str) -> list[TensorEntry] | None:
    """Return the canonical tensors stored in a tensor of a file. Each records the file's layout.

    Args:
        entry: the tensor as the file stores it.
        transform: a name in TRANSFORMS.

    Returns:
        The canonical tensors, unread, or None if the transform cannot produce a tensor of this shape.
    """
    if transform == AS_IT_IS:
        return [_ordered(entry)]
    shapes = TRANSFORMS[transform].canonical_shapes(entry.shape)
    if shapes is None:
        return None

    def load(part: int) -> np.ndarray:
        return in_order(TRANSFORMS[transform].from_file(entry.load())[part])

    return [
        TensorEntry(shape, entry.dtype, lambda part=part: load(part), stored=Stored(entry, transform, part))  # type: ignore[misc]
        for part, shape in enumerate(shapes)
    ]


def as_scalar(entry: TensorEntry) -> TensorEntry:
    """Return the scalar that a file stores as a vector of one element. It records the vector.

    Args:
        entry: a tensor of shape `(1,)`.
    """
    return TensorEntry(
        (), entry.dtype, lambda: entry.load().reshape(()), stored=Stored(entry, "scalar to vector", part=0)
    )


def to_stored(parts: Sequence[TensorEntry], transform: str) -> TensorEntry:
    """Return canonical tensors in the form in which a file with this transform stores them.

    Tensors from a file of the same layout are returned as stored, without transposing.

    Args:
        parts: the canonical tensors of one row of rules, in order.
        transform: a name in TRANSFORMS.
    """
    if transform == AS_IT_IS:
        return _ordered(parts[0])
    first = parts[0].stored
    if first is not None and all(
        part.stored == Stored(first.entry, transform, place) for place, part in enumerate(parts)
    ):
        return _ordered(first.entry)
    shape = TRANSFORMS[transform].file_shape([part.shape for part in parts])
    return rearranged(shape, parts, TRANSFORMS[transform].to_file)


def _ordered(entry: TensorEntry) -> TensorEntry:
    return replace(entry, load=lambda: in_order(entry.load()))
