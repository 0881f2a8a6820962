"""A request to prune is checked whole before anything is removed."""

from __future__ import annotations

import pytest

from clip_core.configuration import CLIPTextConfig
from clip_core.modeling.pruning import plan_pruning


@pytest.fixture
def config():
    return CLIPTextConfig(hidden_size=40, num_attention_heads=5, num_hidden_layers=3, pruned_heads={1: [0, 3]})


def test_heads_are_counted_among_those_left(config):
    assert plan_pruning({0: [4, 1], 1: [2]}, config) == {0: ([1, 4], [1, 4]), 1: ([1], [0, 2, 3])}


def test_heads_pruned_before_are_skipped(config):
    assert plan_pruning({1: [0, 3]}, config) == {}


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ({3: [0]}, "layer 3 does not exist; the layers are 0 to 2"),
        ({0: [5, 1]}, r"heads \[5\] do not exist; the heads are 0 to 4"),
        ({0: range(5)}, "layer 0 would lose its last"),
        ({1: [1, 2, 4]}, "layer 1 would lose its last"),
    ],
)
def test_what_cannot_be_pruned_is_named(config, heads, message):
    with pytest.raises(ValueError, match=message):
        plan_pruning(heads, config)
