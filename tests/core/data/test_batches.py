"""A generator run ahead gives the same values and errors, and is closed in time."""

from __future__ import annotations

import threading

import pytest

from clip_core.data.batches import in_background


def numbers(made, count=10):
    try:
        for number in range(count):
            made.append(number)
            yield number
    finally:
        made.append("closed")


def test_the_values_are_the_same():
    assert list(in_background(numbers([]))) == list(range(10))


def test_the_next_value_is_made_while_the_last_is_in_use():
    asked = threading.Event()

    def values():
        yield 1
        asked.set()
        yield 2

    ahead = in_background(values())
    assert next(ahead) == 1
    assert asked.wait(timeout=20)
    assert list(ahead) == [2]


def test_no_more_values_are_made_than_one_that_waits_and_one_that_is_next():
    made = []
    threads = threading.active_count()
    ahead = in_background(numbers(made))
    assert [next(ahead), next(ahead)] == [0, 1]
    ahead.close()
    assert made[-1] == "closed"
    assert len(made) - 1 <= 5
    assert threading.active_count() == threads


def test_an_error_comes_after_the_values_before_it():
    def values():
        yield 1
        raise KeyError("gone")

    ahead = in_background(values())
    assert next(ahead) == 1
    with pytest.raises(KeyError, match="gone"):
        next(ahead)
