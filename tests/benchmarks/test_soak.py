"""Memory stays flat over many calls of each model, tokenizer and processor; `make soak` makes ten thousand of each."""

from __future__ import annotations

import sys

import pytest
import soak

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of the process as Linux states it")


@pytest.mark.parametrize("name", soak.SUBJECTS)
def test_memory_is_flat(name):
    calls = 2000 if name.startswith("CLIP") else 100
    growth = soak.measure(name, soak.subject(name), calls=calls, warm_up=40)
    assert growth.is_flat, growth


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
