"""Turns, after a comparison of the outputs."""

from __future__ import annotations

import numpy as np
import pytest
from comparing import DifferentOutputsError, check_same
from interleaved import Case, Measurement, Ratio, add_duels, number_of_turns, ratio, ratios, take_turns, time_case

from support.messages import mentions, naming
from support.tolerances import FLOAT64_ROUNDING

CASE = Case("one picture", "images", {"pixel_values": np.zeros((1, 3, 2, 2))}, {"batch": 1})


class Recorded:
    """A runner that runs nothing: it returns given times, and records its turns."""

    def __init__(self, name, turns, seconds=1.0, embeds=(0.6, 0.8)):
        self.name, self.turns, self.seconds, self.embeds = name, turns, seconds, embeds

    def prepare(self, stage, inputs, **options):
        self.turns.append(f"prepare {self.name}")
        if self.embeds is None:
            raise RuntimeError(f"{self.name} cannot {stage}")
        return {"image_embeds": np.array([self.embeds])}

    def run(self):
        self.turns.append(self.name)
        return self.seconds


def recorded(turns, **others):
    return {"ours": Recorded("ours", turns, 0.5), "peer": Recorded("peer", turns), **others}


def test_all_take_their_turn_in_every_round_and_nobody_always_first():
    turns = []
    times = take_turns(recorded(turns), 8)
    rounds = [tuple(turns[start : start + 2]) for start in range(0, 16, 2)]
    assert set(rounds) == {("ours", "peer"), ("peer", "ours")}
    assert list(times) == ["ours", "peer"]
    assert times["peer"].seconds == [1.0] * 8


def test_all_are_compared_before_any_is_timed():
    turns = []
    timed = time_case(CASE, recorded(turns), reference="peer", budget=0, fewest=2)
    assert turns[:2] == ["prepare peer", "prepare ours"]
    assert sorted(turns[2:]) == ["ours"] * 3 + ["peer"] * 3  # the first says how many turns fit
    assert (timed.median("ours"), timed.median("absent")) == (0.5, None)
    assert ratios([timed], "ours", "peer") == [(timed, Ratio((0.5, 0.5)))]
    assert ratios([timed], "ours", "absent") == []
    assert timed.record()["targets"]["peer"] == {"median": 1.0, "spread": 0.0, "seconds": [1.0, 1.0]}
    assert timed.record()["batch"] == 1


def test_other_numbers_are_not_timed():
    turns = []
    others = {"wrong": Recorded("wrong", turns, embeds=(0.6, 0.81)), "broken": Recorded("broken", turns, embeds=None)}
    timed = time_case(CASE, recorded(turns, **others), reference="peer", budget=0, fewest=1)
    assert not {"wrong", "broken"} & {*turns, *timed.measurements}
    assert mentions(timed.left_out["wrong"], "wrong", "image_embeds", 0.01, "peer", 1e-05)
    assert timed.left_out["broken"] == "broken cannot images"


def test_without_the_reference_nothing_is_timed():
    turns = []
    with pytest.raises(RuntimeError, match=naming("peer", "images")):
        time_case(CASE, recorded(turns, peer=Recorded("peer", turns, embeds=None)), reference="peer", budget=0)


@pytest.mark.parametrize(
    ("outputs", "named"),
    [
        ({"image_embeds": np.array([[np.nan, 0.8]])}, ["image_embeds", "nan"]),
        ({"image_embeds": np.array([0.6, 0.8])}, ["image_embeds", (2,), (1, 2), "theirs"]),
        (
            {"logits_per_image": np.array([[14.0]])},
            ["logits_per_image", 0.07],
        ),  # by the temperature: 1 / (1 / 0.07)
    ],
)
def test_outputs_that_differ_are_reported_with_the_difference(outputs, named):
    reference = {"image_embeds": np.array([[0.6, 0.8]]), "logits_per_image": np.array([[13.0]])}
    with pytest.raises(DifferentOutputsError, match=naming(*named)):
        check_same("ours", outputs, "theirs", reference)


def test_half_precision_has_its_own_tolerance():
    reference, outputs = ({"image_embeds": np.array([[value]])} for value in (0.6, 0.601))
    assert check_same("ours", outputs, "theirs", reference, "float16") == pytest.approx(0.001, rel=FLOAT64_ROUNDING)
    with pytest.raises(DifferentOutputsError):
        check_same("ours", outputs, "theirs", reference, "float32")


def test_as_many_turns_as_the_budget_allows_within_bounds():
    assert [number_of_turns(seconds, 60, fewest=5) for seconds in (1e-9, 4, 100)] == [25, 15, 5]


def test_the_spread_leaves_outliers_out_where_there_are_enough_turns():
    assert Measurement("ours", [1, 2, 3]).spread == 1.0
    assert Measurement("ours", [*[1.0] * 30, 100.0]).spread == 0.0


def test_a_ratio_is_of_each_round():
    """A machine that is half as fast in the second round slows both."""
    times = {"ours": Measurement("ours", [1, 2.2, 1.2]), "peer": Measurement("peer", [1, 2, 1])}
    assert ratio(times, "ours", "peer").rounds == pytest.approx((1.0, 1.1, 1.2), rel=FLOAT64_ROUNDING)
    assert ratio(times, "ours", "peer").median == pytest.approx(1.1, rel=FLOAT64_ROUNDING)


@pytest.mark.parametrize(
    ("rounds", "interval"),
    [(1, (1, 1)), (4, (1, 4)), (5, (1, 5)), (7, (1, 7)), (8, (2, 7)), (11, (3, 9)), (25, (8, 18))],
)
def test_the_interval_is_the_sign_tests(rounds, interval):
    """Of 8 tosses of a coin none or one falls on a given side in 9 of 256 cases; 18 of 256 are below a tenth."""
    assert Ratio(tuple(np.random.default_rng(0).permutation(rounds) + 1)).interval == interval


def test_the_interval_holds_the_true_median_in_nine_of_ten_measurements():
    draws = np.random.default_rng(0).lognormal(size=(2000, 15))
    intervals = [Ratio(tuple(rounds)).interval for rounds in draws]
    assert 0.9 <= np.mean([low <= 1 <= high for low, high in intervals]) < 0.97


def test_two_at_a_time_take_more_turns():
    turns = []
    runners = recorded(turns, third=Recorded("third", turns, 9.0), absent=Recorded("absent", turns, embeds=None))
    timed = time_case(CASE, runners, reference="peer", budget=0, fewest=1)
    turns.clear()
    add_duels(timed, runners, [("ours", "peer"), ("ours", "absent")], budget=9)
    assert sorted(turns) == ["ours"] * 6 + ["peer"] * 6
    assert list(timed.duels) == [("ours", "peer")]
    assert ratios([timed], "ours", "peer")[0][1].rounds == (0.5,) * 6
    assert ratios([timed], "peer", "ours")[0][1].rounds == (2.0,) * 6
    assert timed.record()["duels"] == [{"ours": [0.5] * 6, "peer": [1.0] * 6}]
