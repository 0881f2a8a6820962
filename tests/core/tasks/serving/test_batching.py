"""Batches are formed from the inputs of many callers."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest

from clip_core.tasks.serving.batching import Batcher


@asynccontextmanager
async def doubling(batches, *, most=4, enough=4, max_wait=0.0, run=None):
    def double(items):
        return [2 * item for item in items]

    with ThreadPoolExecutor(1) as executor:
        options = {"most": most, "enough": enough, "max_wait": max_wait}
        batcher = Batcher(run or double, **options, executor=executor, on_batch=batches.append)
        batcher.start()
        try:
            yield batcher
        finally:
            await batcher.stop()


def test_results_are_in_the_order_of_the_inputs_over_several_batches():
    async def main():
        batches = []
        async with doubling(batches) as batcher:
            found = await asyncio.gather(batcher.submit([*range(10)]), batcher.submit([]), batcher.submit([50]))
        assert found == [[2 * item for item in range(10)], [], [100]]
        assert sum(batches) == 11
        assert max(batches) == 4

    asyncio.run(main())


def test_an_idle_model_waits_for_the_callers_of_the_last_batch():
    async def main():
        batches = []
        async with doubling(batches, max_wait=30) as batcher:
            await batcher.submit([0, 0, 0])
            first = asyncio.ensure_future(batcher.submit([1]))
            await asyncio.sleep(0.05)
            assert not first.done()
            assert await asyncio.gather(batcher.submit([2]), batcher.submit([3])) == [[4], [6]]
            assert await first == [2]
        assert batches == [3, 3]

    asyncio.run(main())


def test_an_input_that_came_while_the_model_ran_waits_for_the_callers_of_that_batch():
    may_run = threading.Event()

    def run(items):
        may_run.wait(20)
        return items

    async def main():
        batches = []
        async with doubling(batches, max_wait=30, run=run) as batcher:
            running = asyncio.ensure_future(batcher.submit([1, 2]))
            while not batches:
                await asyncio.sleep(0)
            late = asyncio.ensure_future(batcher.submit([3]))
            await asyncio.sleep(0)
            may_run.set()
            assert await running == [1, 2]
            assert await asyncio.gather(batcher.submit([4, 5]), late) == [[4, 5], [3]]
        assert batches == [2, 3]

    asyncio.run(main())


@pytest.mark.parametrize(("before", "then"), [([0], [1]), ([0, 0, 0, 0], [1, 2])], ids=["alone", "enough"])
def test_one_caller_and_enough_inputs_wait_for_nothing(before, then):
    async def main():
        batches = []
        async with doubling(batches, enough=2, max_wait=30) as batcher:
            await batcher.submit(before)
            await asyncio.wait_for(batcher.submit(then), 20)
        assert batches == [len(before), len(then)]

    asyncio.run(main())


def test_callers_that_do_not_come_back_are_waited_for_once():
    async def main():
        batches = []
        async with doubling(batches, max_wait=0.001) as batcher:
            await batcher.submit([0, 0, 0])
            assert await batcher.submit([1]) == [2]
            batcher._max_wait = 30
            assert await asyncio.wait_for(batcher.submit([2]), 20) == [4]
        assert batches == [3, 1, 1]

    asyncio.run(main())


@pytest.mark.parametrize("is_read", [True, False])
def test_an_idle_model_waits_for_an_input_while_it_is_read(is_read):
    async def main():
        batches = []
        async with doubling(batches, max_wait=0) as batcher:
            await batcher.submit([0, 0])
            batcher._last_seconds = 400  # so that it waits for a quarter of that
            with batcher.coming(1):
                first = asyncio.ensure_future(batcher.submit([1]))
                await asyncio.sleep(0.05)
                assert not first.done()
            if is_read:
                assert await batcher.submit([2]) == [4]
            assert await asyncio.wait_for(first, 20) == [2]
        assert batches == ([2, 2] if is_read else [2, 1])

    asyncio.run(main())


def test_an_input_whose_caller_gave_up_is_not_run():
    async def main():
        batches = []
        async with doubling(batches, max_wait=30) as batcher:
            await batcher.submit([0, 0])
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(batcher.submit([1]), 0.05)
            found = await asyncio.gather(batcher.submit([2]), batcher.submit([3]))
        assert found == [[4], [6]]
        assert batches == [2, 2]

    asyncio.run(main())


def test_an_error_reaches_the_caller_of_its_input_alone():
    def invert(items):
        return [1 / item for item in items]

    async def main():
        async with doubling([], most=3, max_wait=30, run=invert) as batcher:
            found = await asyncio.gather(*(batcher.submit([item]) for item in (2, 0, 4)), return_exceptions=True)
        assert found[0] == [0.5]
        assert isinstance(found[1], ZeroDivisionError)
        assert found[2] == [0.25]

    asyncio.run(main())


def test_an_error_that_is_returned_runs_nothing_again():
    def invert(items):
        return [1 / item if item else ZeroDivisionError() for item in items]

    async def main():
        batches = []
        async with doubling(batches, most=3, max_wait=30, run=invert) as batcher:
            await batcher.submit([1, 1, 1])
            found = await asyncio.gather(*(batcher.submit([item]) for item in (2, 0, 4)), return_exceptions=True)
            with pytest.raises(ZeroDivisionError):
                await batcher.submit([1, 0, 0])
        assert found[::2] == [[0.5], [0.25]]
        assert isinstance(found[1], ZeroDivisionError)
        assert batches == [3, 3, 3]

    asyncio.run(main())


def test_stopping_cancels_inputs_that_wait():
    async def main():
        async with doubling([], max_wait=30) as batcher:
            await batcher.submit([0, 0])
            waiting = asyncio.ensure_future(batcher.submit([1]))
            await asyncio.sleep(0.05)
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())
