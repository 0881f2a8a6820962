"""Sample order: the order of an epoch's samples, and the share of each process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, count
from typing import TYPE_CHECKING

import numpy as np

from clip_core.configuration.arguments import check_integers
from clip_core.data.pairs import IndexedPairs, StreamedPairs
from clip_core.data.preparation import Entry
from clip_core.hub.printing import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clip_core.data.pairs import Pairs

# Separates these random streams from those of the samples, which use the same seed.
_ORDER = 1


@dataclass(frozen=True)
class Plan:
    """The settings that determine the order.

    Attributes:
        batch_size: per process.
        drop_last: drop an incomplete last batch.
        process_index: index of this process.
        process_count: total number of processes.
        seed: seed for shuffling.
        shuffle: shuffle each epoch.
        shuffle_buffer: samples of a stream held in memory for shuffling.

    Raises:
        ValueError: if the settings are inconsistent.
    """

    batch_size: int
    drop_last: bool
    process_index: int
    process_count: int
    seed: int
    shuffle: bool
    shuffle_buffer: int

    def __post_init__(self) -> None:
        check_integers(batch_size=(self.batch_size, 1), shuffle_buffer=(self.shuffle_buffer, 1), seed=(self.seed, 0))
        check_integers(process_count=(self.process_count, 1), process_index=(self.process_index, 0))
        if self.process_index >= self.process_count:
            raise ValueError(f"process_index={self.process_index} must be less than process_count={self.process_count}")
        if self.process_count > 1 and not self.drop_last:
            raise ValueError("drop_last=False needs process_count=1: processes would get unequal numbers of batches")
        if self.batch_size * self.process_count == 1 and self.drop_last:
            raise ValueError(
                "a batch of one pair has no negatives, so its contrastive loss is always 0; give batch_size=2 or more "
                "(drop_last=False allows 1, for evaluation)"
            )

    def permutation(self, length: int, *keys: int) -> np.ndarray:
        """Return a permutation of `range(length)` determined by the seed and the keys; (length,), int64."""
        if not self.shuffle:
            return np.arange(length)
        return np.random.default_rng((self.seed, _ORDER, *keys)).permutation(length)


class Order(ABC):
    """The samples of one process in an epoch, in order. `len` is their number, equal for all processes."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def entries(self, epoch: int, start: int) -> Iterator[Entry]:
        """Yield samples from index `start` on, cycling forever: the first follows the last."""


def order_of(source: Pairs, plan: Plan) -> Order:
    """Return the order of a source of either kind.

    Args:
        source: indexed or streamed pairs.
        plan: the settings.

    Raises:
        ValueError: if there are too few samples for one batch.
    """
    order = IndexedOrder(source, plan) if isinstance(source, IndexedPairs) else StreamedOrder(source, plan)
    if len(order) < plan.batch_size and plan.drop_last:
        processes = f" for each of {plan.process_count} processes" if plan.process_count > 1 else ""
        raise ValueError(
            f"batch_size={plan.batch_size}{processes} exceeds the {counted(len(source), 'pair')} available; give "
            "a smaller one"
        )
    return order


class IndexedOrder(Order):
    """One permutation of all samples for all processes, which take turns, a batch each.

    The batches of one step, concatenated in process order, therefore equal the batch of a single process with the
    combined batch size. The remainder after the last full step is split evenly among the processes, to replace broken
    samples.
    """

    def __init__(self, source: IndexedPairs, plan: Plan) -> None:
        self._source = source
        self._plan = plan
        self._steps, self._rest = divmod(len(source), plan.batch_size * plan.process_count)

    def __len__(self) -> int:
        return self._steps * self._plan.batch_size + self._rest // self._plan.process_count

    def entries(self, epoch: int, start: int) -> Iterator[Entry]:
        """See `Order`."""
        permutation = self._plan.permutation(len(self._source), epoch)
        for number in count(start):
            index = int(permutation[self._place(number % len(self))])
            yield Entry((index,), self._source[index])

    def _place(self, number: int) -> int:
        """Return the index into the permutation of this process's sample `number`."""
        plan = self._plan
        step, within = divmod(number, plan.batch_size)
        width = plan.batch_size if step < self._steps else self._rest // plan.process_count
        return step * plan.batch_size * plan.process_count + plan.process_index * width + within


class StreamedOrder(Order):
    """Shuffled shards laid end to end and split evenly among the processes; each process shuffles its part.

    A part is shuffled in pieces of the buffer's size: the buffer is filled, shuffled and emptied. Resuming therefore
    rereads at most one piece.
    """

    def __init__(self, source: StreamedPairs, plan: Plan) -> None:
        self._source = source
        self._plan = plan

    @cached_property
    def _length(self) -> int:
        return len(self._source) // self._plan.process_count

    def __len__(self) -> int:
        return self._length

    def entries(self, epoch: int, start: int) -> Iterator[Entry]:
        """See `Order`."""
        shards = self._plan.permutation(len(self._source.sizes), epoch).tolist()
        position = start % len(self)
        while True:
            yield from self._shuffled(shards, epoch, position) if self._plan.shuffle else self._read(shards, position)
            position = 0

    def _shuffled(self, shards: list[int], epoch: int, position: int) -> Iterator[Entry]:
        """Yield samples from a position to the end of this process's part, shuffled in pieces."""
        size = self._plan.shuffle_buffer
        for piece in range(position // size, -(-len(self) // size)):
            entries = list(self._read(shards, piece * size, (piece + 1) * size))
            order = self._plan.permutation(len(entries), epoch, self._plan.process_index + 1, piece)
            yield from (entries[place] for place in order[max(position - piece * size, 0) :])

    def _read(self, shards: list[int], start: int, stop: int | None = None) -> Iterator[Entry]:
        """Yield the samples of this process's part from `start` up to `stop`, in shard order."""
        offset = self._plan.process_index * len(self)
        first, last = offset + start, offset + min(len(self), len(self) if stop is None else stop)
        sizes = self._source.sizes
        ends = accumulate(sizes[shard] for shard in shards)
        for shard, end in zip(shards, ends, strict=True):
            begin = end - sizes[shard]
            if begin < last and first < end:
                inside = max(first - begin, 0), min(last, end) - begin
                for number, pair in enumerate(self._source.read(shard, *inside), inside[0]):
                    yield Entry((shard, number), pair)
