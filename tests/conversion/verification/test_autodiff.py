"""Each rule agrees with central differences, and operations without a rule are refused."""

from __future__ import annotations

import numpy as np
import pytest

from converters.verification.autodiff import ELEMENTWISE, FUNCTIONS, Tracked, pull_back
from converters.verification.reference import ACTIVATIONS, erf
from support.tolerances import FLOAT64_DIFFERENCES

STEP = 1e-5

UNARY = [np.negative, np.exp, np.expm1, np.log, np.sqrt, np.tanh, erf]
BINARY = [np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum, np.logaddexp]
METHODS = {
    "sum of all": lambda a: a.sum(),
    "sum": lambda a: a.sum(axis=1),
    "sum that keeps": lambda a: a.sum(axis=-1, keepdims=True),
    "mean of all": lambda a: a.mean(),
    "mean": lambda a: a.mean(axis=1),
    "max": lambda a: a.max(axis=1),
    "max that keeps": lambda a: a.max(axis=-1, keepdims=True),
    "reshape": lambda a: a.reshape(3, -1, 2),
    "transpose": lambda a: a.transpose(1, 2, 0),
    "T": lambda a: a.T,
    "astype": lambda a: a.astype(np.float64),
    "slice": lambda a: a[:, 1:3],
    "column": lambda a: a[:, 0],
    "rows, one twice": lambda a: a[np.array([[1, 0], [1, 1]])],
    "pairs": lambda a: a[np.arange(2), np.array([2, 0])],
    "diagonal": lambda a: a[0].diagonal(),
    "power": lambda a: a**3,
    "used twice": lambda a: a * a.sum(axis=1, keepdims=True) + a,
    "numbers on the left": lambda a: 1 - 2 / a,
    "broadcast_to": lambda a: np.broadcast_to(a[0, 0], (2, 3, 4)),
    "where, above": lambda a: np.where(a > 1, a, 2.0),
    "where, below": lambda a: np.where(a > 1, 2.0, a[:1]),
    **ACTIVATIONS,
}


def _array(*shape, seed=0):
    """Positive numbers on both sides of 1, none near another: at a kink there is no derivative to compare with."""
    size = int(np.prod(shape))
    return (np.random.default_rng(seed).permutation(size) / size + 0.503 + 0.01 * seed).reshape(shape)


def _differences(function, arrays, which, slope):
    found = np.zeros(arrays[which].shape)
    for index in np.ndindex(found.shape):
        values = []
        for step in (STEP, -STEP):
            moved = [array.copy() for array in arrays]
            moved[which][index] += step
            values.append((np.asarray(function(*moved), np.float64) * slope).sum())
        found[index] = (values[0] - values[1]) / (2 * STEP)
    return found


def _assert_derived(function, *arrays):
    """Check all arguments at once, and each alone beside plain arrays."""
    result = function(*map(Tracked, arrays))
    slope = np.random.default_rng(9).standard_normal(result.shape)
    np.testing.assert_array_equal(result.value, np.asarray(function(*arrays), np.float64))
    for tracked in ([True] * len(arrays), *np.eye(len(arrays), dtype=bool)):
        given = [Tracked(array) if track else array for array, track in zip(arrays, tracked, strict=True)]
        found = pull_back(function(*given), slope)
        for which in np.flatnonzero(tracked):
            expected = _differences(function, arrays, which, slope)
            np.testing.assert_allclose(found[given[which].node], expected, **FLOAT64_DIFFERENCES)


@pytest.mark.parametrize("function", UNARY, ids=lambda function: function.__name__.partition(" ")[0])
def test_a_function_of_one_array(function):
    _assert_derived(function, _array(3, 4))


@pytest.mark.parametrize("shapes", [((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 1), (2, 1, 4)), ((), (2, 3))], ids=str)
@pytest.mark.parametrize("function", BINARY, ids=lambda function: function.__name__)
def test_a_function_of_two_arrays_that_are_broadcast(function, shapes):
    _assert_derived(function, _array(*shapes[0]), _array(*shapes[1], seed=1))


@pytest.mark.parametrize("shapes", [((3, 4), (4, 2)), ((5, 3, 4), (4, 2)), ((2, 5, 3, 4), (2, 5, 4, 3))], ids=str)
def test_a_product_of_matrices_and_of_stacks_of_them(shapes):
    _assert_derived(np.matmul, _array(*shapes[0]), _array(*shapes[1], seed=1))


@pytest.mark.parametrize("name", METHODS)
def test_what_else_the_reference_does_with_an_array(name):
    _assert_derived(METHODS[name], _array(2, 3, 4))


def test_concatenation():
    _assert_derived(lambda a, b: np.concatenate([a, b], axis=1), _array(2, 1, 3), _array(2, 4, 3, seed=1))


def test_every_rule_is_tested():
    assert set(ELEMENTWISE) == {*UNARY, *BINARY, np.power}
    assert set(FUNCTIONS) == {np.concatenate, np.broadcast_to, np.where}


def test_equal_maxima_share_the_gradient():
    array = Tracked([[1.0, 3.0, 3.0]])
    np.testing.assert_array_equal(pull_back(array.max(axis=1), 2.0)[array.node], [[0, 1, 1]])


@pytest.mark.parametrize(
    "function",
    [
        np.sin,
        np.add.reduce,
        lambda a: np.add(a, 1, out=np.zeros((2, 2))),
        lambda a: 2**a,
        np.linalg.norm,
        lambda a: a @ np.ones(2),
        lambda a: a.astype(np.float32),
    ],
    ids=["a function", "a reduction", "an output", "an exponent", "another library's", "a vector", "a narrower dtype"],
)
def test_an_operation_without_a_rule_is_refused(function):
    with pytest.raises(TypeError):
        function(Tracked(np.eye(2)))


def test_unused_inputs_have_no_gradient():
    used, idle = Tracked(np.ones(2)), Tracked(np.ones(2))
    found = pull_back((used * 2).sum())
    assert used.node in found
    assert idle.node not in found
