"""Checks of arguments."""

from __future__ import annotations

import pytest

from clip_core.configuration.arguments import check_integers
from support.messages import naming


def test_the_first_argument_that_is_too_small_is_named_with_the_least():
    check_integers(batch_size=(1, 1), seed=(0, 0))
    check_integers(optional=True, num_threads=(None, 1))
    with pytest.raises(ValueError, match=naming("top_k=2", 3)):
        check_integers(batch_size=(1, 1), top_k=(2, 3), seed=(-1, 0))
