"""Batch assembly, one batch ahead, with a record of broken samples and of the position to resume from."""

from __future__ import annotations

import logging
from contextlib import closing, suppress
from queue import Empty, Queue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from clip_core.data.pairs import Broken
from clip_core.hub.printing import counted, printable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from clip_core.data.preparation import PreparedSample

T = TypeVar("T")


class Position(NamedTuple):
    """The position in the data at the end of a batch.

    Attributes:
        epoch: from 0.
        batches: batches of the epoch so far.
        taken: samples of the epoch so far, including broken ones.
        broken: broken samples among them.
        truncated: captions truncated so far.
    """

    epoch: int = 0
    batches: int = 0
    taken: int = 0
    broken: int = 0
    truncated: int = 0


def to_state(position: Position, broken: Sequence[Broken], order: Mapping[str, Any]) -> dict[str, Any]:
    """Return a position as plain JSON values.

    Args:
        position: the position.
        broken: the broken samples of the epoch before it.
        order: the settings that determine the order of samples.
    """
    samples = [[sample.key, sample.reason] for sample in broken]
    return {**position._asdict(), "broken": samples, "order": dict(order)}


def from_state(state: Mapping[str, Any], order: Mapping[str, Any]) -> tuple[Position, list[Broken]]:
    """Return the position and broken samples saved by `to_state`.

    Args:
        state: the return value of `to_state`.
        order: the current settings.

    Raises:
        ValueError: if `state` is malformed or was saved under other settings.
    """
    try:
        broken = [Broken(key, reason) for key, reason in state["broken"]]
        position = Position(state["epoch"], state["batches"], state["taken"], len(broken), state["truncated"])
        before = state["order"]
        differing = [name for name in order if before.get(name) != order[name]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a state of a PairLoader ({error!r}); pass what state_dict() returned") from error
    if differing:
        was = ", ".join(f"{name}={before.get(name)!r}" for name in differing)
        now = ", ".join(f"{name}={order[name]!r}" for name in differing)
        raise ValueError(f"the state was saved with {was}, but this loader has {now}; use the same settings to resume")
    return position, broken


_SHOWN = 5
_logger = logging.getLogger(__name__)


class BrokenSamplesError(ValueError):
    """More broken samples than allowed; the message lists the first few."""


class BrokenSamples:
    """The broken samples of an epoch.

    Args:
        limit: the number of broken samples to tolerate.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.samples: list[Broken] = []
        self._told: set[str] = set()

    def add(self, sample: Broken) -> None:
        """Count a broken sample, and log it the first time.

        Raises:
            BrokenSamplesError: if it exceeds the limit.
        """
        self.samples.append(sample)
        if len(self.samples) > self.limit:
            first = "; ".join(
                f"{printable(broken.key)}: {printable(broken.reason)}" for broken in self.samples[:_SHOWN]
            )
            more = "; ..." * (len(self.samples) > _SHOWN)
            raise BrokenSamplesError(
                f"{counted(len(self.samples), 'sample')} broken, more than max_broken={self.limit}; the first: "
                f"{first}{more}"
            )
        if sample.key not in self._told:
            self._told.add(sample.key)
            _logger.warning("skipped %s: %s", printable(sample.key), printable(sample.reason))

    def reset(self, samples: Iterable[Broken] = ()) -> None:
        """Start an epoch, or resume one in which these samples have already been found broken."""
        self.samples = list(samples)


class Assembly:
    """A batch being filled; `len` is the number of rows so far.

    Args:
        size: the number of rows in a full batch.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._arrays: dict[str, np.ndarray] = {}
        self.keys: list[str] = []

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def is_full(self) -> bool:
        """Return True once every row is filled."""
        return len(self) == self._size

    def add(self, row: PreparedSample) -> None:
        """Copy a sample's arrays into the next row."""
        for name, array in row.arrays.items():
            if name not in self._arrays:
                self._arrays[name] = np.empty((self._size, *array.shape), array.dtype)
            self._arrays[name][len(self)] = array
        self.keys.append(row.key)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the rows so far, by name: `(rows, ...)`."""
        return {name: array[: len(self)] for name, array in self._arrays.items()}


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
