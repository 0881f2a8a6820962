from __future__ import annotations

import threading

import pytest

from clip_core.tasks.embedding.embedder import read_ahead


def counting(read, most=5, error=None):
    try:
        for number in range(most):
            read.append(number)
            yield number
        if error is not None:
            raise error
    finally:
        read.append("closed")


def test_items_are_read_ahead_in_order_and_no_further():
    read = []
    items = read_ahead(counting(read, 10), 3)
    assert next(items) == 0
    assert [next(items), next(items)] == [1, 2]
    items.close()
    assert read[-1] == "closed"
    assert 3 <= len(read) - 1 <= 7  # three were taken, and no more than three wait beside one that is asked for
    assert read[:-1] == list(range(len(read) - 1))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clip-embed-read")]


@pytest.mark.parametrize("count", [1, 3, 50])
def test_all_items_come_and_then_the_error(count):
    read = []
    assert list(read_ahead(counting(read), count)) == list(range(5))
    items = read_ahead(counting(read, error=ValueError("cut")), count)
    assert [next(items) for _ in range(5)] == list(range(5))
    with pytest.raises(ValueError, match="cut"):
        next(items)
    assert read[-1] == "closed"
