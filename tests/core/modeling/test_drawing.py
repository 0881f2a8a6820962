"""Layers are drawn unless a block says otherwise."""

from __future__ import annotations

import pytest

from clip_core.modeling.drawing import is_drawing, without_drawing


def test_nothing_is_drawn_in_the_block_alone():
    assert is_drawing()
    with without_drawing():
        assert not is_drawing()
        with without_drawing():
            assert not is_drawing()
        assert not is_drawing()
    assert is_drawing()


def test_the_block_ends_with_an_error():
    with pytest.raises(KeyError), without_drawing():
        raise KeyError
    assert is_drawing()
