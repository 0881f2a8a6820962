"""Arrays in contiguous memory that a framework can adopt, with the same values."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from converters.tensors import TensorEntry, aligned, in_order, rearranged
from support.entries import entry


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.int64])
@pytest.mark.parametrize("shape", [(5, 40), (40, 5), (16, 16), (17, 33), (1, 9), (9, 1), (0, 4), (4, 0)])
def test_a_transposed_matrix_is_the_same_in_rows(shape, dtype):
    matrix = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    ordered = in_order(matrix.T)
    assert ordered.flags.c_contiguous
    assert (ordered.shape, ordered.dtype) == (matrix.T.shape, matrix.dtype)
    assert np.array_equal(ordered, matrix.T)


def test_contiguous_arrays_are_not_copied():
    matrix = np.ones((3, 4))
    assert in_order(matrix) is matrix


@pytest.mark.parametrize("axes", [(2, 3, 1, 0), (3, 1, 0, 2)])
def test_other_orders_of_axes(axes):
    array = np.arange(120).reshape(2, 3, 4, 5).transpose(axes)
    ordered = in_order(array)
    assert ordered.flags.c_contiguous
    assert np.array_equal(ordered, array)


@pytest.mark.parametrize("shape", [(), (1,), (7, 9)])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_memory_begins_where_frameworks_take_it_over(shape, dtype):
    array = aligned(np.zeros, shape, np.dtype(dtype))
    assert (array.shape, array.dtype) == (shape, dtype)
    assert array.ctypes.data % 64 == 0
    assert array.flags.c_contiguous
    assert not array.any()


def test_an_entrys_own_array_is_a_copy_in_order_and_in_the_dtype_that_is_asked_for():
    matrix = np.arange(12, dtype=np.float32).reshape(3, 4).T
    own = entry(matrix).own()
    assert np.array_equal(own, matrix)
    assert own.flags.c_contiguous
    assert not np.shares_memory(own, matrix)
    assert entry(matrix).own(np.dtype(np.float16)).dtype == np.float16


def test_an_entry_that_can_fill_an_array_does_not_load_another():
    filled = TensorEntry((2,), np.dtype(np.float32), lambda: np.zeros(2, np.float32), lambda array: array.fill(7))
    assert filled.own().tolist() == [7, 7]
    assert filled.own(np.dtype(np.float64)).tolist() == [0, 0]


def test_a_rearranged_tensor_is_the_same_loaded_and_of_its_own():
    parts = [entry(np.full((2, 3), value, np.float32)) for value in (1, 2)]
    joined = rearranged((3, 4), parts, lambda arrays: np.concatenate(arrays).T)
    assert joined.own().tolist() == joined.load().tolist() == [[1, 1, 2, 2]] * 3
