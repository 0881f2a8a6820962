"""Rows assembled to a batch, the samples that could not be used, and the position in the data to resume from."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from clip_core.data.pairs import Broken

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from clip_core.data.preparation import Row


class Position(NamedTuple):
    """Where in the data a batch ended.

    Attributes:
        epoch: from 0.
        batches: of the epoch, so far.
        taken: samples of the epoch so far, broken ones too.
        broken: how many of those are.
        truncated: captions that were cut, so far.
    """

    epoch: int = 0
    batches: int = 0
    taken: int = 0
    broken: int = 0
    truncated: int = 0


def to_state(position: Position, broken: Sequence[Broken], order: Mapping[str, Any]) -> dict[str, Any]:
    """A position as plain JSON values.

    Args:
        position: the position.
        broken: the epoch's broken samples before it.
        order: the settings that the order of samples depends on.
    """
    samples = [[sample.key, sample.reason] for sample in broken]
    return {**position._asdict(), "broken": samples, "order": dict(order)}


def from_state(state: Mapping[str, Any], order: Mapping[str, Any]) -> tuple[Position, list[Broken]]:
    """The position and the broken samples that `to_state` wrote down.

    Args:
        state: what it returned.
        order: the settings now.

    Raises:
        ValueError: it returned something else, or the settings were others.
    """
    try:
        broken = [Broken(key, reason) for key, reason in state["broken"]]
        position = Position(state["epoch"], state["batches"], state["taken"], len(broken), state["truncated"])
        before = state["order"]
        differing = [name for name in order if before.get(name) != order[name]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"this is no state of a PairLoader: {error!r}") from error
    if differing:
        was = ", ".join(f"{name}={before.get(name)!r}" for name in differing)
        now = ", ".join(f"{name}={order[name]!r}" for name in differing)
        raise ValueError(f"the state is of a loader with {was}, and this one has {now}; it cannot be resumed")
    return position, broken


_SHOWN = 5
_logger = logging.getLogger(__name__)


class BrokenSamplesError(ValueError):
    """There are more broken samples than were allowed; the message lists the first."""


class BrokenSamples:
    """The broken samples of an epoch.

    Args:
        limit: how many are skipped.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.samples: list[Broken] = []
        self._told: set[str] = set()

    def add(self, sample: Broken) -> None:
        """Count one, and log it if it was not logged before.

        Raises:
            BrokenSamplesError: it is one too many.
        """
        self.samples.append(sample)
        if len(self.samples) > self.limit:
            first = "".join(f"\n  {broken.key}: {broken.reason}" for broken in self.samples[:_SHOWN])
            more = "\n  ..." * (len(self.samples) > _SHOWN)
            raise BrokenSamplesError(
                f"{len(self.samples)} samples are broken, and max_broken={self.limit}; the first:{first}{more}"
            )
        if sample.key not in self._told:
            self._told.add(sample.key)
            _logger.warning("skipped %s: %s", sample.key, sample.reason)

    def reset(self, samples: Iterable[Broken] = ()) -> None:
        """Begin an epoch, or go on with one that has had these."""
        self.samples = list(samples)


class Assembly:
    """A batch that is being filled. `len` is the number of its rows.

    Args:
        size: how many rows fill it.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._arrays: dict[str, np.ndarray] = {}
        self.keys: list[str] = []

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def is_full(self) -> bool:
        """Whether no row is missing."""
        return len(self) == self._size

    def add(self, row: Row) -> None:
        """Copy a sample's arrays into the next row."""
        for name, array in row.arrays.items():
            if name not in self._arrays:
                self._arrays[name] = np.empty((self._size, *array.shape), array.dtype)
            self._arrays[name][len(self)] = array
        self.keys.append(row.key)

    def arrays(self) -> dict[str, np.ndarray]:
        """The rows so far, by name: `(rows, ...)`."""
        return {name: array[: len(self)] for name, array in self._arrays.items()}
