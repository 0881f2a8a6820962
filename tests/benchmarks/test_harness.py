"""Two functions timed in turns in one process."""

from __future__ import annotations

import pytest
from harness import COLUMNS, Row, compare
from interleaved import Measurement
from timing import Work

from support.tolerances import FLOAT64_ROUNDING


def test_both_run_as_often_and_the_peer_is_named():
    turns = []
    row = compare("texts", lambda: turns.append("ours"), lambda: turns.append("peer"), peer_name="theirs", fewest=3)
    assert turns.count("ours") == turns.count("peer")
    assert len(row.ratio.rounds) == 25  # the maximum, as the work takes almost no time
    assert (row.name, row.peer, list(row.measurements)) == ("texts", "theirs", ["ours", "peer"])


def test_a_row_says_how_many_times_as_fast():
    times = {"ours": Measurement("ours", [0.001, 0.002, 0.004]), "peer": Measurement("peer", [0.003, 0.004, 0.008])}
    row = Row("texts", "theirs", times)
    assert row.ratio.rounds == pytest.approx((3, 2, 2), rel=FLOAT64_ROUNDING)
    assert row.cells() == ["texts", "2 (±150%)", "theirs", "4 (±125%)", "2.00"]
    assert len(row.cells()) == len(COLUMNS) + 1
    assert row.record()["times"]["peer"] == {"target": "peer", "seconds": [0.003, 0.004, 0.008], "median": 0.004}


def test_what_is_short_runs_once_untimed_before(monkeypatch):
    clock, runs = iter([0.0, 0.1, 1.0, 1.3, 2.0, 2.1]), []
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    work = Work(lambda: runs.append(len(runs)))
    counts = []
    for seconds in (0.1, 0.3, 0.1):
        assert work.run() == pytest.approx(seconds, rel=FLOAT64_ROUNDING)
        counts.append(len(runs))
    assert counts == [2, 4, 5]  # the third knows of the second that it was not short
