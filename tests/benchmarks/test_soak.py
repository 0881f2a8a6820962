"""Memory stays flat over many calls of each model, tokenizer and processor; `make soak` makes ten thousand of each."""

from __future__ import annotations

import sys

import pytest
import soak
import soak_server
from load import ours

from clip_core.tasks.zero_shot import ZeroShotClassifier

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of the process as Linux states it")


@pytest.mark.parametrize("name", soak.SUBJECTS)
def test_memory_is_flat(name):
    call = soak.subject(name)
    calls = 2000 if name.startswith("CLIP") else 100
    # Three frameworks share this process, and what their allocators keep changes by some megabytes, whatever is called.
    # A leak grows each time.
    growths = [soak.measure(name, call, calls=calls, warm_up=40)]
    while not growths[-1].is_flat and len(growths) < 3:
        growths.append(soak.measure(name, call, calls=calls))
    assert growths[-1].is_flat, growths


@pytest.mark.parametrize("size", [1, 40_000])
def test_a_leak_is_found(size):
    """An object at each call, or 40 kB that are no block of Python's own allocator."""
    kept = []
    growth = soak.measure("leak", lambda _: kept.append(bytearray(b"x") * size), calls=200, warm_up=10)
    assert not growth.is_flat


def test_the_report_has_a_row_for_each(tmp_path):
    growth = soak.measure("nothing", lambda _: None, calls=1000, warm_up=1)
    assert growth.is_flat
    assert "| nothing | 1,000 |" in soak.report([growth])


def test_the_server_answers_rounds_of_other_inputs(monkeypatch):
    monkeypatch.setattr(soak_server, "TEXTS", 6)
    monkeypatch.setattr(soak_server, "IMAGES", 3)
    classifier = ZeroShotClassifier.from_pretrained(soak.MODEL, backend="torch")
    server = ours(soak.MODEL)
    try:
        found = soak_server.soak(server, classifier, 0.1)
    finally:
        server.close()
    assert found.requests == 9 * len(found.memory)
    assert min(found.memory) > 100 * 2**20  # of the process with PyTorch, not of the one that watches it
    assert f"| {found.requests} | {found.first / 2**20:.0f} |" in soak_server.report(found)


def test_the_memory_of_a_server_is_flat_if_it_does_not_grow_with_the_requests():
    warm = [10 * 2**20] * 10
    flat = soak_server.Soak(600.0, 50_000, [*warm, *[300 * 2**20] * 90])
    assert (flat.first, flat.growth, flat.is_flat) == (300 * 2**20, 0, True)
    leaking = soak_server.Soak(600.0, 50_000, [*warm, *((300 + round_) * 2**20 for round_ in range(90))])
    assert leaking.growth == 81 * 2**20
    assert not leaking.is_flat
