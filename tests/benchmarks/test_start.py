"""What an import costs over the bare framework is told of rounds, each of which had the same machine."""

from __future__ import annotations

import pytest
import start
from fresh import Run


def test_a_machine_that_slows_down_between_rounds_does_not_show_in_the_difference():
    bare = [Run("", wall, wall - 0.5) for wall in (1.0, 1.0, 3.0, 3.0, 1.0)]
    done = [Run("", run.wall + 0.2, run.processor + 0.1) for run in bare[:4]] + [Run("", 9.0, 8.0)]
    found = start.row("ours", done, bare)
    assert found["wall_over_bare"] == pytest.approx(0.2)  # the difference of medians would be 2.2
    assert found["processor_over_bare"] == pytest.approx(0.1)
    assert found["wall"] == pytest.approx(3.2)
