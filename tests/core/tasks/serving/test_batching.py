"""Batches are formed from the inputs of many callers."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest

from clip_core.tasks.serving.batching import Batcher


@asynccontextmanager
async def doubling(batches, *, most=4, max_wait=0.0, run=None):
    def double(items):
        return [2 * item for item in items]

    with ThreadPoolExecutor(1) as executor:
        batcher = Batcher(run or double, most=most, max_wait=max_wait, executor=executor, on_batch=batches.append)
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


def test_an_idle_model_waits_for_a_second_input_but_a_full_batch_for_nothing():
    async def main():
        batches = []
        async with doubling(batches, most=2, max_wait=30) as batcher:
            first = asyncio.ensure_future(batcher.submit([1]))
            await asyncio.sleep(0.05)
            assert not first.done()
            assert await batcher.submit([2]) == [4]
            assert await first == [2]
        assert batches == [2]

    asyncio.run(main())


def test_an_input_whose_caller_gave_up_is_not_run():
    async def main():
        batches = []
        async with doubling(batches, most=2, max_wait=30) as batcher:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(batcher.submit([1]), 0.05)
            found = await asyncio.gather(batcher.submit([2]), batcher.submit([3]))
        assert found == [[4], [6]]
        assert batches == [2]

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


def test_stopping_cancels_inputs_that_wait():
    async def main():
        async with doubling([], most=2, max_wait=30) as batcher:
            waiting = asyncio.ensure_future(batcher.submit([1]))
            await asyncio.sleep(0.05)
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())
