"""Worker processes that map a function over arguments, a bounded number ahead, with results in order."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
import weakref
from collections import deque
from contextlib import suppress
from threading import Condition, Lock, Semaphore, Thread
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from clip_core.data.worker import PROGRAM, WorkerError, receive, send
from clip_core.hub.printing import signal_name
from clip_core.processing.forks import PARALLELISM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from io import BufferedReader, BufferedWriter

_PIPE_BYTES = 1 << 20  # the Linux default limit for unprivileged users
_SIGKILL = 9  # sent by Linux when memory runs out
_IN_FLIGHT = 2  # tasks per worker: one in progress and one waiting


class WorkerFailedError(RuntimeError):
    """A worker process that raised an error, quoted in the message, or exited."""


class _Worker(NamedTuple):
    process: subprocess.Popen[bytes]
    tasks: BufferedWriter
    results: BufferedReader


class WorkerPool:
    """Processes that each hold a copy of a function.

    They load neither the caller's main script nor a framework, and end with this process or on `close`.

    Args:
        function: the function to apply; pickled, so its module must be importable.
        num_workers: number of processes.
        threads: number of threads of numerical libraries in each process, one by default because the processes are the
            parallelism; None leaves it to the libraries.
    """

    def __init__(self, function: Callable[[Any], Any], num_workers: int, *, threads: int | None = 1) -> None:
        self._workers = [_started(threads) for _ in range(num_workers)]
        self._finalizer = weakref.finalize(self, _end, self._workers)
        for worker in self._workers:
            send(worker.tasks, function)

    def map(self, arguments: Iterable[Any], ahead: int) -> Iterator[Any]:
        """Yield the function's values for the arguments, in order.

        Args:
            arguments: consumed in the background, a few at a time, outside the caller's thread.
            ahead: number of values computed or in progress before the first is taken.

        Raises:
            WorkerFailedError: if a worker raises an error or exits; the pool is then closed.
            Exception: any error that `arguments` raises.
        """
        run = _Run(iter(arguments), max(ahead, _IN_FLIGHT * len(self._workers)))
        threads = [Thread(target=run.serve, args=(worker,), daemon=True) for worker in self._workers]
        for thread in threads:
            thread.start()
        try:
            yield from run.values()
        except WorkerFailedError:
            self.close()
            raise
        finally:
            run.stop(len(threads))
            for thread in threads:
                thread.join()

    @property
    def is_closed(self) -> bool:
        """Return True once the processes have been ended."""
        return not self._finalizer.alive

    def close(self) -> None:
        """End the processes. They hold no state worth saving."""
        self._finalizer()


class _Run:
    """One call of `map`: a thread per worker feeds it arguments, and the caller's thread takes the values."""

    def __init__(self, arguments: Iterator[Any], ahead: int) -> None:
        self._arguments = arguments
        self._reading = Lock()
        self._room = Semaphore(ahead)
        self._changed = Condition()
        self._values: dict[int, Any] = {}
        self._taken = 0
        self._is_over = False

    def serve(self, worker: _Worker) -> None:
        """Feed arguments to a worker and collect its values, until there are no more."""
        in_flight: deque[int] = deque()
        try:
            while True:
                while len(in_flight) < _IN_FLIGHT and (task := self._take(wait=not in_flight)):
                    in_flight.append(task[0])
                    send(worker.tasks, task[1])
                if not in_flight:
                    return
                value = receive(worker.results)
                self._put(in_flight.popleft(), value)
        except Exception as error:  # noqa: BLE001  re-raised in the caller's thread
            for number in in_flight:
                self._put(number, WorkerError(_reason(worker.process, error)))

    def values(self) -> Iterator[Any]:
        """Yield the values in order as they arrive."""
        number = 0
        while True:
            with self._changed:
                while number not in self._values:
                    if self._is_over and number >= self._taken:
                        return
                    self._changed.wait()
                value = self._values.pop(number)
            self._room.release()
            if isinstance(value, WorkerError):
                raise WorkerFailedError(f"a worker process failed:\n{value.text}")
            if isinstance(value, _SourceError):
                raise value.error
            yield value
            number += 1

    def stop(self, waiting: int) -> None:
        """Take no more arguments, and wake up to `waiting` threads that wait for room."""
        with self._changed:
            self._is_over = True
        self._room.release(waiting)

    def _take(self, *, wait: bool) -> tuple[int, Any] | None:
        """Return the next argument and its number once its value has room; None if there is neither.

        Only a thread with nothing in flight waits.
        """
        if not self._room.acquire(blocking=wait):
            return None
        with self._reading:
            if not self._is_over:
                try:
                    argument = next(self._arguments)
                except StopIteration:
                    pass
                except Exception as error:  # noqa: BLE001  re-raised in the caller's thread
                    self._values[self._taken] = _SourceError(error)
                    self._taken += 1
                else:
                    self._taken += 1
                    return self._taken - 1, argument
            self._end()
        return None

    def _end(self) -> None:
        self._room.release()  # lets the next thread see the end
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _put(self, number: int, value: Any) -> None:
        with self._changed:
            self._values[number] = value
            self._changed.notify_all()


class _SourceError:
    """An error raised while reading the arguments."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _reason(process: subprocess.Popen[bytes], error: Exception) -> str:
    """Return the reason that a worker's value is missing."""
    if not isinstance(error, (EOFError, BrokenPipeError)):
        return "".join(traceback.format_exception(error))
    code = process.wait()
    if code >= 0:
        return f"the process ended with exit code {code}"
    hint = "; is there enough memory?" if code == -_SIGKILL else ""
    return f"the process was ended by {signal_name(-code)}{hint}"


def _started(threads: int | None) -> _Worker:
    search_path = os.pathsep.join(path or str(os.getcwd()) for path in sys.path)  # noqa: PTH109
    environment = {**os.environ, "PYTHONPATH": search_path, PARALLELISM: "false"}
    if threads is not None:
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    process = subprocess.Popen(  # noqa: S603  this interpreter, and a program of our own
        [sys.executable, "-P", "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        pipesize=_PIPE_BYTES,
    )
    return _Worker(process, cast("BufferedWriter", process.stdin), cast("BufferedReader", process.stdout))


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        worker.process.wait()
        worker.results.close()
        with suppress(OSError):  # pending writes have no reader any more
            worker.tasks.close()
