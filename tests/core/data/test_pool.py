"""Worker processes: values in order, a bounded number ahead, errors with their origin, and no worker left behind."""

from __future__ import annotations

import gc
import itertools
import math
import os
import time
from functools import partial
from io import BytesIO

import numpy as np
import pytest

from clip_core.data.pool import WorkerFailedError, WorkerPool
from clip_core.data.worker import receive, send
from support.messages import naming


@pytest.fixture(scope="module")
def pool():
    pool = WorkerPool(math.sqrt, 2)
    yield pool
    pool.close()


def test_objects_go_through_a_pipe_with_arrays_that_can_be_written_to():
    stream = BytesIO()
    value = {"array": np.arange(6.0).reshape(2, 3), "text": "a", "empty": np.empty((0, 3))}
    send(stream, value)
    send(stream, "next")
    stream.seek(0)
    received = receive(stream)
    assert received["text"] == "a"
    assert received["empty"].shape == (0, 3)
    assert np.array_equal(received["array"], value["array"])
    received["array"][0, 0] = 7
    assert receive(stream) == "next"
    with pytest.raises(EOFError):
        receive(stream)


def test_values_come_in_order(pool):
    assert list(pool.map(range(100), ahead=8)) == [math.sqrt(number) for number in range(100)]
    assert list(pool.map([], ahead=8)) == []


def test_no_more_arguments_are_read_than_values_may_be_ahead(pool):
    read = itertools.count()
    values = pool.map((next(read) for _ in range(1000)), ahead=5)
    for place in range(20):
        next(values)
        time.sleep(0.01)
        assert next(read) <= place + 1 + 5 + place + 1  # each look takes a number, too
    values.close()


def test_a_loop_that_is_left_leaves_the_pool_fit_for_the_next(pool):
    for _ in range(3):
        assert list(itertools.islice(pool.map(itertools.count(), ahead=9), 3)) == [0, 1, math.sqrt(2)]
    assert not pool.is_closed


def test_an_error_in_the_arguments_is_raised_after_the_values_before_it(pool):
    def arguments():
        yield 4
        yield 9
        raise OSError("the disk is gone")

    values = pool.map(arguments(), ahead=8)
    assert [next(values), next(values)] == [2, 3]
    with pytest.raises(OSError, match="the disk is gone"):
        next(values)
    assert not pool.is_closed


def test_an_error_in_a_worker_comes_with_its_text_and_closes_the_pool():
    pool = WorkerPool(math.sqrt, 1)
    values = pool.map([4, -1, 9], ahead=4)
    assert next(values) == 2
    with pytest.raises(WorkerFailedError, match="ValueError: math domain error"):
        next(values)
    assert pool.is_closed


def test_large_arguments_and_values_do_not_block_each_other():
    pool = WorkerPool(partial(np.add, 1), 1)
    large = np.zeros(4_000_000, np.uint8)
    assert [value[0] for value in pool.map([large] * 5, ahead=4)] == [1] * 5
    pool.close()


def test_what_cannot_be_sent_is_an_error_that_says_so():
    pool = WorkerPool(math.sqrt, 1)
    with pytest.raises(WorkerFailedError, match=naming("pickle.dumps")):
        list(pool.map([lambda: None], ahead=2))


def test_what_a_worker_prints_does_not_get_between_its_values(capfd):
    pool = WorkerPool(print, 1)
    assert list(pool.map(["one", "two"], ahead=2)) == [None, None]
    pool.close()
    assert capfd.readouterr().out == ""


def test_a_pool_that_is_forgotten_ends_its_workers():
    pool = WorkerPool(math.sqrt, 1)
    (pid,) = [worker.process.pid for worker in pool._workers]
    del pool
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
