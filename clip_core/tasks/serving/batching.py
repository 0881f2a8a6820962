"""Dynamic batching: inputs of different requests are encoded together.

While the model runs, new inputs wait and form the next batch. Callers that send one request after another all come back
just after their batch is answered. A model that began with the first of them would run two batches in place of one, and
a small batch costs nearly as much as a larger one. An idle model therefore waits a few milliseconds for as many inputs
as there were at the end of the last batch. One caller alone never waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor

Item = TypeVar("Item")
Result = TypeVar("Result")

_PATIENCE = 0.25  # of the last batch's time


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
        run: returns for each input of a batch a result, or an error for its caller alone; runs in the executor.
        most: inputs in a batch.
        enough: inputs that are never kept waiting for others, because a larger batch would save little.
        max_wait: seconds without a new input after which an idle model waits no longer. It waits for this long, or for
            a quarter of the last batch's time if that is longer, at most.
        executor: runs `run`, one batch at a time.
        on_batch: called with the size of each batch.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Result | Exception]],
        *,
        most: int,
        enough: int,
        max_wait: float,
        executor: Executor,
        on_batch: Callable[[int], object],
    ) -> None:
        self._run = run
        self._most = most
        self._enough = min(most, enough)
        self._max_wait = max_wait
        self._executor = executor
        self._on_batch = on_batch
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._arrived = asyncio.Event()
        self._is_complete = asyncio.Event()  # as many wait as are expected
        self._expected = 1
        self._coming = 0
        self._last_seconds = 0.0  # that a batch took
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

    @contextmanager
    def coming(self, count: int) -> Iterator[None]:
        """Count inputs that are being read and will be submitted. An idle model waits for them as for others.

        Args:
            count: the number of inputs.
        """
        self._coming += count
        try:
            yield
        finally:
            self._coming -= count
            if not self._coming:
                self._is_complete.set()  # recomputes how long to wait

    async def submit(self, items: Sequence[Item]) -> list[Result]:
        """Return the results of inputs, in order. If the caller is cancelled, those not yet begun are left out.

        Args:
            items: the inputs; they may be spread over several batches.

        Raises:
            Exception: the error that `run` returned or raised for one of them.
        """
        if not items:
            return []
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Result]] = [loop.create_future() for _ in items]
        now = loop.time()
        self._waiting.extend(_Waiting(item, future, now) for item, future in zip(items, futures, strict=True))
        self._arrived.set()
        if len(self._waiting) >= self._expected:
            self._is_complete.set()
        try:
            return [await futures[0]] if len(futures) == 1 else list(await asyncio.gather(*futures))
        finally:
            for future in futures:
                future.cancel()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            await self._wait_for_more(loop)
            batch = self._take()
            if batch:
                begun = loop.time()
                self._on_batch(len(batch))
                await self._answer(loop, batch)
                self._last_seconds = loop.time() - begun
                self._expected = min(len(batch) + len(self._waiting), self._enough)

    async def _wait_for_more(self, loop: asyncio.AbstractEventLoop) -> None:
        start = loop.time()
        latest = start + max(self._max_wait, self._last_seconds * _PATIENCE)
        while 0 < len(self._waiting) < self._expected:
            quiet = latest if self._coming else max(start, self._waiting[-1].since) + self._max_wait
            left = min(quiet, latest) - loop.time()
            if left <= 0:
                return
            self._is_complete.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._is_complete.wait()

    def _take(self) -> list[_Waiting[Item, Result]]:
        batch: list[_Waiting[Item, Result]] = []
        while self._waiting and len(batch) < self._most:
            waiting = self._waiting.popleft()
            if not waiting.result.done():  # its caller has not given up
                batch.append(waiting)
        if not self._waiting:
            self._arrived.clear()
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
            if waiting.result.done():
                continue
            if isinstance(result, Exception):
                waiting.result.set_exception(result)
            else:
                waiting.result.set_result(result)


def padded(batch: list[Item], most: int, encoder: object) -> list[Item]:
    """Repeat the first input up to a power of two, if the framework compiles a program for each number of rows.

    Args:
        batch: the inputs; at least one.
        most: inputs in the largest batch.
        encoder: the model.
    """
    if not getattr(encoder, "compiles_each_shape", False):
        return batch
    rows = min(most, 1 << (len(batch) - 1).bit_length())
    return [*batch, *batch[:1] * (rows - len(batch))]
