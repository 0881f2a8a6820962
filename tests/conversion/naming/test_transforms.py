"""Each transform goes both ways without changing a bit, and tells shapes without touching values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.naming.transforms import TRANSFORMS

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
