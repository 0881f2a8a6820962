"""Libraries in separate processes: the protocol, and the error if one fails."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from remote import Worker, WorkerError
from targets import TARGETS, Target, framework

from support.messages import naming

DOUBLING = Target("tests.benchmarks.doubling")
EMBEDS = {"image_embeds": np.array([[0.5, -1.5]], np.float32)}


@pytest.fixture(scope="module")
def worker():
    with Worker("doubling", DOUBLING, checkpoint="any") as started:
        yield started


def test_a_worker_computes_what_it_is_given_and_tells_its_versions(worker):
    np.testing.assert_array_equal(worker.prepare("double", EMBEDS)["image_embeds"], [[1, -3]])
    np.testing.assert_array_equal(worker.prepare("double", EMBEDS, power=3)["image_embeds"], [[4, -12]])
    assert worker.versions == {"doubling": "1"}


def test_a_run_is_timed(worker):
    worker.prepare("double", EMBEDS)
    assert 0 < worker.run() < 60


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_the_peak_of_memory_is_that_since_the_reset(worker):
    size = 40_000_000
    worker.prepare("double", {"image_embeds": np.ones((1, size // 4), np.float32)})
    held = worker.memory()["now"]
    worker.reset()
    worker.run()
    assert worker.memory()["peak"] > held + size / 2
    worker.release()
    worker.reset()
    assert worker.memory()["peak"] < held


def test_an_error_is_reported_with_its_reason_and_the_worker_continues(worker):
    with pytest.raises(WorkerError, match=naming("doubling", "prepare", "ValueError: no such stage")):
        worker.prepare("impossible", EMBEDS)
    assert worker.prepare("double", EMBEDS)["image_embeds"].shape == (1, 2)


def test_a_worker_that_ends_is_reported_with_its_last_output():
    with (
        Worker("doubling", DOUBLING, checkpoint="any") as fatal,
        pytest.raises(WorkerError, match=naming("doubling", "prepare", 3, "a library that prints")),
    ):
        fatal.prepare("fatal", EMBEDS)


def test_a_library_that_does_not_load_is_reported():
    with pytest.raises(WorkerError, match=naming("doubling", "OSError: broken is no checkpoint")):
        Worker("doubling", DOUBLING, checkpoint="broken")


def test_an_environment_that_was_not_made_is_named():
    with pytest.raises(WorkerError, match=naming("peer", "make bench") + ".*-bench-nowhere"):
        Worker("peer", Target("tests.benchmarks.doubling", "nowhere"))


def test_targets_are_held_against_those_of_their_framework():
    assert [name for name in TARGETS if framework(name) == "tf"] == ["ours-tf", "transformers-tf"]
    assert TARGETS["ours-torch"].python().samefile(sys.executable)
