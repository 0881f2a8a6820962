"""Programs in separate processes: their output, their cost and their order."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import fresh


def test_a_run_gives_what_was_printed_and_the_time_that_it_took():
    done = fresh.run("-c", "import sys, time; time.sleep(0.2); print(sys.argv[1])", "given")
    assert done.output == "given\n"
    assert done.wall > 0.2 > done.processor > 0


def test_a_run_that_fails_says_why():
    with pytest.raises(RuntimeError, match="no such thing"):
        fresh.run("-c", "raise SystemExit('no such thing')")


def test_all_are_done_once_a_round_and_nobody_always_first():
    done = []
    results = fresh.in_turns({name: lambda name=name: done.append(name) or len(done) for name in "ab"}, repeats=8)
    rounds = [tuple(done[start : start + 2]) for start in range(0, 16, 2)]
    assert set(rounds) == {("a", "b"), ("b", "a")}
    assert sorted(results["a"] + results["b"]) == list(range(1, 17))


def test_the_spread_is_that_of_all_values():
    assert fresh.spread([1.0, 2.0, 4.0]) == 1.5


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the peak of memory")
def test_the_peak_is_that_of_this_process_and_does_not_fall():
    # In a process of its own: the test allocates as much as the process's peak, which is gigabytes in a test process.
    program = """
import fresh
before = fresh.peak_memory()
held = bytearray(before)
full = fresh.peak_memory()
del held
print(before, full, fresh.peak_memory())
"""
    done = fresh.run("-c", f"import sys; sys.path.append({str(Path(fresh.__file__).parent)!r})\n{program}")
    before, full, after = map(int, done.output.split())
    assert full >= before + before // 2
    assert after > before
