"""Each transform is exact in both directions, and computes shapes without reading values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.naming.transforms import AS_IT_IS, TRANSFORMS, from_stored, to_stored
from converters.tensors import TensorEntry

# Canonical shapes that each transform takes.
SIZES = st.integers(1, 5)
SHAPES = {
    "as it is": st.lists(SIZES, max_size=4).map(lambda shape: [tuple(shape)]),
    "transpose": st.tuples(SIZES, SIZES).map(lambda shape: [shape]),
    "OIHW to HWIO": st.tuples(SIZES, SIZES, SIZES, SIZES).map(lambda shape: [shape]),
    "scalar to vector": st.just([()]),
    "q, k, v in one": st.lists(SIZES, min_size=1, max_size=2).map(lambda shape: [tuple(shape)] * 3),
}


def test_every_transform_is_tested():
    assert SHAPES.keys() == TRANSFORMS.keys()


@pytest.mark.parametrize("name", TRANSFORMS)
@given(data=st.data())
def test_there_and_back(name, data):
    transform = TRANSFORMS[name]
    shapes = data.draw(SHAPES[name])
    random = np.random.default_rng(0)
    arrays = [random.standard_normal(shape).astype(np.float32) for shape in shapes]
    in_file = transform.to_file(arrays)
    back = transform.from_file(in_file)
    assert in_file.shape == transform.file_shape(shapes)
    assert list(transform.canonical_shapes(in_file.shape)) == shapes
    assert in_file.size == sum(array.size for array in arrays)
    assert all(np.array_equal(one, other) for one, other in zip(arrays, back, strict=True))


def test_what_each_does():
    matrix = np.arange(6).reshape(2, 3)
    assert TRANSFORMS["transpose"].to_file([matrix]).tolist() == [[0, 3], [1, 4], [2, 5]]
    kernel = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert TRANSFORMS["OIHW to HWIO"].to_file([kernel])[3, 4, 2, 1] == kernel[1, 2, 3, 4]
    assert TRANSFORMS["q, k, v in one"].to_file([matrix[:1], matrix[1:], matrix[:1]]).tolist() == [
        [0, 1, 2],
        [3, 4, 5],
        [0, 1, 2],
    ]


@pytest.mark.parametrize(
    ("name", "shape"),
    [("transpose", (3,)), ("OIHW to HWIO", (2, 3)), ("scalar to vector", (2,)), ("q, k, v in one", (4, 3))],
)
def test_a_shape_that_it_cannot_have_made(name, shape):
    assert TRANSFORMS[name].canonical_shapes(shape) is None


STORED = {"transpose": (3, 2), "OIHW to HWIO": (2, 2, 3, 4), "scalar to vector": (1,), "q, k, v in one": (6, 2)}


def stored_array(shape):
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return array, TensorEntry(array.shape, array.dtype, lambda: array)


@pytest.mark.parametrize("transform", STORED)
def test_the_layout_of_the_file_is_handed_out_as_it_is(transform):
    array, entry = stored_array(STORED[transform])
    parts = from_stored(entry, transform)
    assert [part.shape for part in parts] == list(TRANSFORMS[transform].canonical_shapes(array.shape))
    for part, expected in zip(parts, TRANSFORMS[transform].from_file(array), strict=True):
        assert np.array_equal(part.load(), expected)
    assert to_stored(parts, transform).load() is array


def test_a_fused_tensor_with_a_part_of_another_is_put_together():
    (array, entry), (other, other_entry) = stored_array((6, 2)), stored_array((6, 2))
    other += 1
    parts = from_stored(entry, "q, k, v in one")
    parts[1] = from_stored(other_entry, "q, k, v in one")[1]
    expected = np.concatenate([array[:2], other[2:4], array[4:]])
    assert np.array_equal(to_stored(parts, "q, k, v in one").load(), expected)
    # The same parts in another order are another tensor.
    parts = from_stored(entry, "q, k, v in one")[::-1]
    assert np.array_equal(to_stored(parts, "q, k, v in one").load(), np.concatenate([array[4:], array[2:4], array[:2]]))


def test_another_layout_is_made_of_the_canonical_one():
    array, entry = stored_array((2, 3))
    (canonical,) = from_stored(entry, "transpose")
    assert np.array_equal(to_stored([canonical], AS_IT_IS).load(), array.T)
    (canonical,) = from_stored(entry, AS_IT_IS)
    assert np.array_equal(to_stored([canonical], "transpose").load(), array.T)
