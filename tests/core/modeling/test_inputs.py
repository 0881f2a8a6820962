"""Inputs that do not fit a model are refused; a size that a graph does not know is accepted."""

from __future__ import annotations

import pytest

from clip_core.modeling.inputs import check_mask_shape, required
from support.messages import naming


def test_a_main_input_is_returned_unless_it_is_missing():
    assert required("input_ids", "ids") == "ids"
    for name in ("input_ids", "pixel_values"):
        with pytest.raises(ValueError, match=naming(name)):
            required(name, None)


@pytest.mark.parametrize("shape", [(2, 5), (None, 5), (2, None), (None, None)])
def test_a_mask_needs_the_shape_of_the_ids(shape):
    check_mask_shape(shape, (2, 5))
    check_mask_shape((2, 5), shape)


@pytest.mark.parametrize("shape", [(2, 4), (None, 4), (3, None), (2, 5, 1), (2,)])
def test_a_mask_of_another_shape_is_refused_with_both(shape):
    with pytest.raises(ValueError, match=naming("attention_mask", shape, "input_ids", (2, 5))):
        check_mask_shape(shape, (2, 5))
