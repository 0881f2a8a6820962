"""What may happen to a tensor between a file and its canonical form; each transform goes both ways, and has a name.

A transform takes the canonical tensors of one row of rules, in order, to the one tensor in the file, and back. It is
exact: no number is computed with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Shape = tuple[int, ...]


@dataclass(frozen=True)
class Transform:
    """One way to keep tensors in a file.

    Attributes:
        to_file: the canonical tensors to the one in the file; a view where it can be.
        from_file: back; views.
        file_shape: their shapes to its shape.
        canonical_shapes: back; None for a shape that the transform cannot have made.
    """

    to_file: Callable[[Sequence[np.ndarray]], np.ndarray]
    from_file: Callable[[np.ndarray], Sequence[np.ndarray]]
    file_shape: Callable[[Sequence[Shape]], Shape]
    canonical_shapes: Callable[[Shape], Sequence[Shape] | None]


def _permutation(*to_file: int) -> Transform:
    """The axes in another order."""
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
    """Several tensors one behind another along the first axis, such as the fused weights of q, k and v."""
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
    # A number to a list of one.
    "scalar to vector": Transform(
        lambda arrays: arrays[0].reshape(1),
        lambda array: [array.reshape(())],
        lambda _: (1,),
        lambda shape: [()] if shape == (1,) else None,
    ),
    "q, k, v in one": _stack(3),
}
