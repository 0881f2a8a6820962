"""Memory stays flat over many calls of each model, tokenizer and processor; `make soak` makes ten thousand of each."""

from __future__ import annotations

import sys

import pytest
import soak

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
