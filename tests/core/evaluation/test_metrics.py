"""Ranks and metrics, on matrices made by hand and against explicit definitions."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from clip_core.evaluation.metrics import chance_at, mean_reciprocal_rank, median_rank, ranks, recall_at
from support.messages import naming
from support.tolerances import FLOAT64_ROUNDING

SCORES = np.array([[0.9, 0.5, 0.1, 0.3], [0.2, 0.3, 0.8, 0.7], [0.4, 0.6, 0.5, 0.1]])


def test_a_rank_is_the_place_of_the_right_answer():
    assert ranks(SCORES, [0, 3, 3]).tolist() == [1, 2, 4]


def test_of_several_right_answers_the_best_counts_and_the_others_do_not_stand_in_its_way():
    right = np.array([[0, 1, 0, 1], [0, 0, 1, 1], [1, 0, 1, 0]], bool)
    assert ranks(SCORES, right).tolist() == [2, 1, 2]


def test_a_tie_goes_against_the_model():
    assert ranks(np.ones((2, 4)), [0, 3]).tolist() == [4, 4]
    assert ranks(np.array([[0.5, 0.5, 0.1]]), [0]).tolist() == [2]
    # Equal correct answers do not compete with each other.
    assert ranks(np.array([[0.5, 0.5, 0.1]]), np.array([[True, True, False]])).tolist() == [1]


def test_what_is_no_number_never_helps():
    nan = np.nan
    scores = np.array([[nan, nan, nan], [nan, 0.2, 0.1], [0.3, nan, 0.1], [-np.inf, 0.2, nan]])
    assert ranks(scores, [0, 0, 0, 0]).tolist() == [3, 3, 2, 3]
    assert ranks(np.array([[nan, 0.5, 0.1]]), np.array([[True, True, False]])).tolist() == [1]


def test_random_scores_give_what_sorting_gives():
    random = np.random.default_rng(0)
    scores = random.integers(0, 6, (40, 9)).astype(np.float32)
    right = random.random((40, 9)) < 0.3
    right[np.arange(40), random.integers(0, 9, 40)] = True
    expected = []
    for row, is_right in zip(scores, right, strict=True):
        # In descending order of score, wrong answers first on a tie; count the wrong ones before the first correct one.
        order = sorted(range(9), key=lambda place: (-row[place], is_right[place]))
        expected.append(next(place for place, one in enumerate(order) if is_right[one]) + 1)
    assert ranks(scores, right).tolist() == expected


def test_shares_and_means_are_those_of_the_ranks():
    found = np.array([1, 2, 4, 10])
    assert [recall_at(found, k) for k in (1, 2, 3, 4, 10)] == [0.25, 0.5, 0.5, 0.75, 1]
    assert mean_reciprocal_rank(found) == pytest.approx((1 + 1 / 2 + 1 / 4 + 1 / 10) / 4, rel=FLOAT64_ROUNDING)
    assert median_rank(found) == 3


def test_chance_is_the_share_of_all_orders():
    orders = list(permutations(range(5)))
    for right in (1, 2, 5):
        for k in (1, 3, 5, 9):
            share = np.mean([any(one < right for one in order[:k]) for order in orders])
            assert chance_at(k, right, 5) == pytest.approx(share, rel=FLOAT64_ROUNDING)
    assert chance_at(1, [1, 3], 4) == pytest.approx(0.5, rel=FLOAT64_ROUNDING)


@pytest.mark.parametrize(
    ("targets", "named"),
    [
        ([0, 1], [(2,), (3, 4)]),
        ([0, 1, 4], [0, 4]),
        ([0, 1, -1], [-1, 1, 4]),
        ([0.0, 1.0, 2.0], ["float64", 0, 4]),
        (np.ones((3, 4)), [bool, "float64"]),
        (np.eye(3, 4, 1, dtype=bool)[[0, 1, 1]] & [[1, 1, 0, 1]] > 0, ["query 1"]),
    ],
)
def test_targets_that_cannot_be_right_are_told(targets, named):
    with pytest.raises(ValueError, match=naming(*named)):
        ranks(SCORES, targets)


def test_nothing_has_no_mean():
    for metric in (mean_reciprocal_rank, median_rank, lambda found: recall_at(found, 1)):
        with pytest.raises(ValueError, match=naming("queries")):
            metric(np.array([], int))
    with pytest.raises(ValueError, match=naming("k=0", 1)):
        recall_at(np.array([1]), 0)
