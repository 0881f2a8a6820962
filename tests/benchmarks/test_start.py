"""Startup time above the bare framework or interpreter."""

from __future__ import annotations

import pytest
import start
from fresh import Run, run

from support.tolerances import FLOAT64_ROUNDING


def test_an_import_is_timed_within_its_process_from_when_the_framework_is_there():
    program = start.PROGRAM.format(bare="import time; time.sleep(0.5)", statement="print('said'); time.sleep(0.2)")
    wall, processor = start.seconds_of(run("-c", program))
    assert 0.2 < wall < 0.45
    assert 0 <= processor < wall


def test_ours_and_the_peer_are_imported():
    for name in start.BARE:
        first, *_, last = start.statements(name)
        assert first == f"import clip_{name}"
        assert last.startswith("from transformers import ")


def test_a_machine_that_slows_down_between_rounds_does_not_show_in_the_difference():
    bare = [Run("", wall, wall - 0.5) for wall in (1.0, 1.0, 3.0, 3.0, 1.0)]
    done = [Run("", run.wall + 0.2, run.processor + 0.1) for run in bare[:4]] + [Run("", 9.0, 8.0)]
    found = start.row("ours", done, start.differences(done, bare))
    assert found["wall_over_bare"] == pytest.approx(0.2, rel=FLOAT64_ROUNDING)  # the difference of medians would be 2.2
    assert found["processor_over_bare"] == pytest.approx(0.1, rel=FLOAT64_ROUNDING)
    assert found["wall"] == pytest.approx(3.2, rel=FLOAT64_ROUNDING)
