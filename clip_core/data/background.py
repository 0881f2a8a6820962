"""Background generation: the next value is produced while the last one is in use."""

from __future__ import annotations

from contextlib import closing, suppress
from queue import Empty, Queue
from threading import Event, Thread
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")


class _End(NamedTuple):
    """The end-of-stream marker, with the error that ended the stream, if any."""

    error: Exception | None


def in_background(values: Generator[T]) -> Generator[T]:
    """Yield the values of a generator, which a thread runs one value ahead.

    Args:
        values: closed together with this generator.
    """
    ready: Queue[T | _End] = Queue(maxsize=1)
    is_left = Event()

    def run() -> None:
        end = _End(None)
        try:
            with closing(values):
                for value in values:
                    ready.put(value)
                    if is_left.is_set():
                        return
        except Exception as error:  # noqa: BLE001  re-raised in the consumer
            end = _End(error)
        ready.put(end)

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        while not isinstance(value := ready.get(), _End):
            yield value
        if value.error is not None:
            raise value.error
    finally:
        is_left.set()
        with suppress(Empty):
            ready.get_nowait()  # makes room for the value the thread may be blocked on
        thread.join()
