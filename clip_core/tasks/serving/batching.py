"""Dynamic batching: inputs of different requests are encoded together.

While the model runs, new inputs wait and form the next batch. An idle model waits a few milliseconds for more than one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Waiting(NamedTuple, Generic[Item, Result]):
    """An input that waits for its batch.

    Attributes:
        item: the input.
        result: receives the result.
        since: the time when it arrived, by the loop's clock.
    """

    item: Item
    result: asyncio.Future[Result]
    since: float


class Batcher(Generic[Item, Result]):
    """Runs a function on batches of inputs from any number of callers.

    Args:
        run: returns one result for each input of a batch; runs in the executor.
        most: inputs in a batch.
        max_wait: seconds that the first input of a batch waits for others.
        executor: runs `run`, one batch at a time.
        on_batch: called with the size of each batch.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Result]],
        *,
        most: int,
        max_wait: float,
        executor: Executor,
        on_batch: Callable[[int], object],
    ) -> None:
        self._run = run
        self._most = most
        self._max_wait = max_wait
        self._executor = executor
        self._on_batch = on_batch
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._arrived = asyncio.Event()
        self._is_full = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to form batches, in the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def stop(self) -> None:
        """Stop. Inputs that still wait are cancelled."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for waiting in self._waiting:
            waiting.result.cancel()

    async def submit(self, items: Sequence[Item]) -> list[Result]:
        """Return the results of inputs, in order. If the caller is cancelled, those not yet begun are left out.

        Args:
            items: the inputs; they may be spread over several batches.

        Raises:
            Exception: the error of `run` for one of them.
        """
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Result]] = [loop.create_future() for _ in items]
        now = loop.time()
        self._waiting.extend(_Waiting(item, future, now) for item, future in zip(items, futures, strict=True))
        if items:
            self._arrived.set()
        if len(self._waiting) >= self._most:
            self._is_full.set()
        try:
            return list(await asyncio.gather(*futures))
        finally:
            for future in futures:
                future.cancel()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            await self._wait_for_more(loop.time())
            batch = self._take()
            if batch:
                self._on_batch(len(batch))
                await self._answer(loop, batch)

    async def _wait_for_more(self, now: float) -> None:
        if len(self._waiting) >= self._most or not self._waiting:
            return
        left = self._waiting[0].since + self._max_wait - now
        if left > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._is_full.wait()

    def _take(self) -> list[_Waiting[Item, Result]]:
        batch: list[_Waiting[Item, Result]] = []
        while self._waiting and len(batch) < self._most:
            waiting = self._waiting.popleft()
            if not waiting.result.done():  # its caller has not given up
                batch.append(waiting)
        if not self._waiting:
            self._arrived.clear()
        if len(self._waiting) < self._most:
            self._is_full.clear()
        return batch

    async def _answer(self, loop: asyncio.AbstractEventLoop, batch: list[_Waiting[Item, Result]]) -> None:
        try:
            results = await loop.run_in_executor(self._executor, self._run, [waiting.item for waiting in batch])
        except Exception as error:  # noqa: BLE001  handed to the callers
            if len(batch) == 1:
                if not batch[0].result.done():
                    batch[0].result.set_exception(error)
                return
            for waiting in batch:  # one input must not fail the requests of others
                await self._answer(loop, [waiting])
            return
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.result.done():
                waiting.result.set_result(result)
