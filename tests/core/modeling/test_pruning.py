"""A request to prune is validated completely before anything is removed."""

from __future__ import annotations

import pytest

from clip_core.configuration import CLIPTextConfig
from clip_core.modeling.pruning import kept_features, plan_pruning
from support.messages import naming


@pytest.fixture
def config():
    return CLIPTextConfig(hidden_size=40, num_attention_heads=5, num_hidden_layers=3, pruned_heads={1: [0, 3]})


def test_heads_are_counted_among_those_left(config):
    assert plan_pruning({0: [4, 1], 1: [2]}, config) == {0: ([1, 4], [1, 4]), 1: ([1], [0, 2, 3])}


def test_heads_pruned_before_are_skipped(config):
    assert plan_pruning({1: [0, 3]}, config) == {}


@pytest.mark.parametrize(
    ("heads", "named"),
    [
        ({3: [0]}, [3, 0, 2]),
        ({0: [5, 1]}, ["[5]", 0, 4]),
        ({0: range(5)}, ["layer 0"]),
        ({1: [1, 2, 4]}, ["layer 1"]),
    ],
)
def test_what_cannot_be_pruned_is_named(config, heads, named):
    with pytest.raises(ValueError, match=naming(*named)):
        plan_pruning(heads, config)


def test_the_features_of_the_heads_left_are_kept():
    assert kept_features([2, 0], num_heads=4, head_dim=2).tolist() == [2, 3, 6, 7]
    assert kept_features([], num_heads=2, head_dim=3).tolist() == list(range(6))
