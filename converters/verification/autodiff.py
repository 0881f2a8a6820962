"""Gradients of plain numpy code, through arrays that record their computation.

`verification.reference` is written for arrays. With `Tracked` weights, it builds a graph. `pull_back` follows this
graph from a result back to the weights. Only operations that the reference uses have a rule; numpy raises a TypeError
for others. A step stores only the values that its derivative needs.
"""

# ruff: noqa: ARG005  all rules of the table take the same arguments

from __future__ import annotations

import math
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.verification.reference import erf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Array = np.ndarray[Any, np.dtype[np.float64]]
    Pull = Callable[[Array], Array]

# The derivatives of elementwise functions with respect to each argument, given the result y and the arguments.
ELEMENTWISE: dict[np.ufunc, Sequence[Callable[..., Any]]] = {
    np.add: (lambda y, a, b: 1.0, lambda y, a, b: 1.0),
    np.subtract: (lambda y, a, b: 1.0, lambda y, a, b: -1.0),
    np.multiply: (lambda y, a, b: b, lambda y, a, b: a),
    np.divide: (lambda y, a, b: 1 / b, lambda y, a, b: -y / b),
    np.power: (lambda y, a, b: b * a ** (b - 1.0),),  # for an exponent that is a plain number
    np.maximum: (lambda y, a, b: a > b, lambda y, a, b: b >= a),
    np.minimum: (lambda y, a, b: a < b, lambda y, a, b: b <= a),
    np.logaddexp: (lambda y, a, b: np.exp(a - y), lambda y, a, b: np.exp(b - y)),
    np.negative: (lambda y, a: -1.0,),
    np.exp: (lambda y, a: y,),
    np.expm1: (lambda y, a: y + 1,),
    np.log: (lambda y, a: 1 / a,),
    np.sqrt: (lambda y, a: 0.5 / y,),
    np.tanh: (lambda y, a: 1 - y**2,),
    erf: (lambda y, a: 2 / math.sqrt(math.pi) * np.exp(-(a**2)),),
}
_COMPARISONS = {np.greater, np.less, np.equal}  # their results are plain arrays

_numbers = count()


class Node:
    """A step of a computation.

    Attributes:
        parents: the steps that computed its inputs, each with a function from this step's gradient to the input's
            gradient.
        number: a serial number, higher than those of all earlier steps.
    """

    def __init__(self, parents: Sequence[tuple[Node, Pull]]) -> None:
        self.parents, self.number = parents, next(_numbers)


class Tracked(np.lib.mixins.NDArrayOperatorsMixin):
    """An array that records its computation. Gradients stop at arrays made from plain numpy arrays.

    Args:
        value: the array; computed in float64.
        parents: as in `Node`.
    """

    def __init__(self, value: Any, parents: Sequence[tuple[Node, Pull]] = ()) -> None:
        self.value: Array = np.asarray(value, np.float64)
        self.node = Node(parents)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        values = [_plain(x) for x in inputs]
        if method != "__call__" or keywords:
            return NotImplemented
        if ufunc in _COMPARISONS:
            return ufunc(*values)
        if ufunc is np.matmul:
            return _step(ufunc(*values), inputs, _matmul_pulls(*values))
        rules = ELEMENTWISE.get(ufunc, ())
        if any(isinstance(x, Tracked) for x in inputs[len(rules) :]):
            return NotImplemented
        result = np.asarray(ufunc(*values), np.float64)
        slopes = [
            rule(result, *values) if isinstance(x, Tracked) else 0 for rule, x in zip(rules, inputs, strict=False)
        ]
        return _step(result, inputs, [_elementwise_pull(s, np.shape(v)) for s, v in zip(slopes, values, strict=False)])

    def __array_function__(self, function: Any, types: Any, args: Any, keywords: Any) -> Any:
        rule = FUNCTIONS.get(function)
        return NotImplemented if rule is None else rule(*args, **keywords)

    def __getitem__(self, index: Any) -> Tracked:
        def pull(slope: Array) -> Array:
            whole = np.zeros(self.shape)
            np.add.at(whole, index, slope)  # an index may occur more than once
            return whole

        return _step(self.value[index], [self], [pull])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        shape: tuple[int, ...] = self.value.shape
        return shape

    @property
    def T(self) -> Tracked:  # noqa: N802  numpy's
        """Transpose of the array."""
        return self.transpose(*reversed(range(self.value.ndim)))

    def astype(self, dtype: Any) -> Tracked:
        """Return this array: everything here is float64."""
        if dtype != np.float64:
            raise TypeError(f"gradients are computed in float64, not in {dtype}")
        return self

    def reshape(self, *shape: int) -> Tracked:
        """Reshape the array."""
        return _step(self.value.reshape(*shape), [self], [lambda slope: slope.reshape(self.shape)])

    def transpose(self, *axes: int) -> Tracked:
        """Permute the axes."""
        return _step(self.value.transpose(*axes), [self], [lambda slope: slope.transpose(*np.argsort(axes))])

    def sum(self, axis: int | None = None, *, keepdims: bool = False) -> Tracked:
        """Sum over one axis, or over all."""
        result = self.value.sum(axis, keepdims=keepdims)
        return _step(result, [self], [lambda slope: np.broadcast_to(_expanded(slope, axis, keepdims), self.shape)])

    def mean(self, axis: int | None = None, *, keepdims: bool = False) -> Tracked:
        """Average over one axis, or over all."""
        size = self.value.size if axis is None else self.shape[axis]
        mean: Tracked = self.sum(axis, keepdims=keepdims) / size
        return mean

    def max(self, axis: int, *, keepdims: bool = False) -> Tracked:
        """Return the maximum along an axis; equal maxima share the gradient."""
        result = self.value.max(axis, keepdims=True)
        largest = self.value == result
        share = largest.sum(axis, keepdims=True)
        pull: Pull = lambda slope: largest * (_expanded(slope, axis, keepdims) / share)  # noqa: E731
        return _step(result if keepdims else result.squeeze(axis), [self], [pull])

    def diagonal(self) -> Tracked:
        """Return the diagonal of a matrix."""
        rows = np.arange(min(self.shape))
        return self[rows, rows]


def pull_back(result: Tracked, slope: Array | float = 1.0) -> dict[Node, Array]:
    """Return the gradients of `(result * slope).sum()` by node, for all arrays that the result depends on."""
    pending: dict[Node, Array] = {result.node: np.broadcast_to(np.asarray(slope, np.float64), result.shape)}
    found: dict[Node, Array] = {}
    while pending:
        node = max(pending, key=lambda node: node.number)  # its gradient is complete
        gradient = pending.pop(node)
        if not node.parents:
            found[node] = gradient
        for parent, pull in node.parents:
            share = pull(gradient)
            pending[parent] = pending[parent] + share if parent in pending else share
    return found


def _step(result: Array, inputs: Sequence[Any], pulls: Sequence[Pull]) -> Tracked:
    """Return the result, linked to its tracked inputs."""
    return Tracked(result, [(x.node, pull) for x, pull in zip(inputs, pulls, strict=False) if isinstance(x, Tracked)])


def _concatenate(arrays: Sequence[Any], axis: int) -> Tracked:
    values = [_plain(x) for x in arrays]
    ends = np.cumsum([value.shape[axis] for value in values])[:-1]
    pulls: list[Pull] = [lambda slope, i=i: np.split(slope, ends, axis)[i] for i in range(len(values))]  # type: ignore[misc]
    return _step(np.concatenate(values, axis), arrays, pulls)


def _broadcast_to(array: Tracked, shape: tuple[int, ...]) -> Tracked:
    return _step(np.broadcast_to(array.value, shape), [array], [_elementwise_pull(1.0, array.shape)])


def _where(condition: Any, a: Any, b: Any) -> Tracked:
    pulls = [_elementwise_pull(condition, np.shape(_plain(a))), _elementwise_pull(~condition, np.shape(_plain(b)))]
    return _step(np.where(condition, _plain(a), _plain(b)), [a, b], pulls)


FUNCTIONS: Mapping[Any, Callable[..., Tracked]] = {
    np.concatenate: _concatenate,
    np.broadcast_to: _broadcast_to,
    np.where: _where,
}


def _matmul_pulls(a: Array, b: Array) -> list[Pull]:
    """Return the derivatives of a product of matrices or of stacks of matrices, `(..., n, m) @ (..., m, k)`."""
    if min(a.ndim, b.ndim) < 2:
        raise TypeError("the gradient of a product with a vector is not supported")
    stacked: list[Pull] = [
        lambda slope: _unbroadcast(slope @ b.swapaxes(-1, -2), a.shape),
        lambda slope: _unbroadcast(a.swapaxes(-1, -2) @ slope, b.shape),
    ]
    if b.ndim > 2:
        return stacked
    # If one matrix serves a whole stack, as weights do: one product, instead of one per matrix and their sum.
    return [stacked[0], lambda slope: a.reshape(-1, a.shape[-1]).T @ slope.reshape(-1, slope.shape[-1])]


def _elementwise_pull(derivative: Any, shape: tuple[int, ...]) -> Pull:
    return lambda slope: _unbroadcast(slope * derivative, shape)


def _unbroadcast(slope: Array, shape: tuple[int, ...]) -> Array:
    """Sum over the axes that broadcasting added or expanded."""
    added = slope.ndim - len(shape)
    stretched = (axis + added for axis, size in enumerate(shape) if size == 1 and slope.shape[axis + added] != 1)
    summed: Array = slope.sum((*range(added), *stretched), keepdims=True)
    return summed.reshape(shape)


def _expanded(slope: Array, axis: int | None, keepdims: bool) -> Array:
    """Restore the axis that a reduction removed from a gradient."""
    return slope if keepdims or axis is None else np.expand_dims(slope, axis)


def _plain(x: Any) -> Any:
    return x.value if isinstance(x, Tracked) else x
