"""PairLoader: image-text pairs as numpy batches, prefetched."""

from __future__ import annotations

import logging
import weakref
from contextlib import closing
from dataclasses import asdict
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Self

from clip_core.configuration.arguments import MOST_WORKERS, check_integers
from clip_core.data.batches import Assembly, BrokenSamples, Position, from_state, in_background, to_state
from clip_core.data.order import Plan, order_of
from clip_core.data.pairs import Broken
from clip_core.data.pool import WorkerPool
from clip_core.data.preparation import Chunk, Preparation, PreparedSample, text_length
from clip_core.data.sources import open_pairs
from clip_core.hub.printing import printable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import numpy as np

    from clip_core.data.augmentation import Augmentation
    from clip_core.data.preparation import PreparedChunk
    from clip_core.processing import CLIPProcessor

_CHUNK = 16  # samples per task of a worker, at most
_logger = logging.getLogger(__name__)


class PairLoader:
    """Batches of image-text pairs, identical for any framework and number of workers.

    Iterating yields the rest of the current epoch, or the next epoch if that one is finished. The data, `seed` and the
    epoch determine the order of samples. `seed`, the epoch and the sample determine the random choices for a sample.

    Args:
        source: the pairs, or anything that `open_pairs` accepts.
        processor: the model's processor.
        batch_size: pairs per batch in this process.
        max_length: tokens per row of text, the model's `max_position_embeddings`; by default the tokenizer's own.
            Longer captions are truncated, which is logged once and counted in `truncated`.
        augmentation: `RandomCrop()` or `RandomResizedCrop()` for training; None for the processor's own resizing and
            cropping, as in evaluation.
        shuffle: reshuffle in each epoch.
        drop_last: drop an incomplete last batch, as training does. False keeps it; single process only.
        seed: 0 or more.
        shuffle_buffer: samples of shards and Parquet files held in memory for shuffling.
        process_index: index of this process when several train one model.
        process_count: total number of processes. All get the same number of batches and no sample twice.
        num_workers: processes that decode and prepare samples; 0 to use this process only.
        prefetch: batches the workers prepare ahead.
        max_broken: broken samples to skip per epoch before raising an error.

    Raises:
        ValueError: if an argument is invalid, or the batch is larger than the data.

    Example:
        >>> loader = PairLoader(open_pairs("pictures/"), processor, batch_size=64)  # doctest: +SKIP
        >>> {name: array.shape for name, array in next(iter(loader)).items()}  # doctest: +SKIP
        {'pixel_values': (64, 3, 224, 224), 'input_ids': (64, 77), 'attention_mask': (64, 77)}
    """

    def __init__(
        self,
        source: Any,
        processor: CLIPProcessor,
        *,
        batch_size: int,
        max_length: int | None = None,
        augmentation: Augmentation | None = None,
        shuffle: bool = True,
        drop_last: bool = True,
        seed: int = 0,
        shuffle_buffer: int = 2048,
        process_index: int = 0,
        process_count: int = 1,
        num_workers: int = 0,
        prefetch: int = 2,
        max_broken: int = 100,
    ) -> None:
        check_integers(most=MOST_WORKERS, num_workers=(num_workers, 0))
        check_integers(prefetch=(prefetch, 1), max_broken=(max_broken, 0))
        self._plan = Plan(batch_size, drop_last, process_index, process_count, seed, shuffle, shuffle_buffer)
        self.source = open_pairs(source)
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.prefetch = prefetch
        self._order = order_of(self.source, self._plan)
        self._prepare = Preparation(processor, text_length(processor, max_length), augmentation, seed)
        self._prepare.check()
        self._broken = BrokenSamples(max_broken)
        self._position = Position()
        self._pool: WorkerPool | None = None
        self._loop: weakref.ref[Generator[dict[str, np.ndarray]]] | None = None
        self._told_truncation = False
        self.samples: list[str] = []
        """The keys of the last batch's samples, in order."""

    def __len__(self) -> int:
        """Return the number of batches in an epoch; an upper bound if `drop_last` is False and samples are broken."""
        full, rest = divmod(len(self._order), self.batch_size)
        return full + (not self._plan.drop_last and rest > 0)

    @property
    def epoch(self) -> int:
        """The epoch of the last batch, from 0."""
        return self._position.epoch

    @property
    def broken(self) -> list[Broken]:
        """The samples skipped so far in this epoch, with reasons."""
        return self._broken.samples[: self._position.broken]

    @property
    def truncated(self) -> int:
        """The number of captions truncated so far in this epoch."""
        return self._position.truncated

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Iterate over the rest of the epoch, or the next one. An earlier iteration ends here.

        Yields:
            `pixel_values` (batch, channels, height, width), float32; `input_ids` and `attention_mask` (batch, seq),
            int64. The caller owns the arrays.

        Raises:
            BrokenSamplesError: if more than `max_broken` samples of the epoch are broken.
            ValueError: if the data can no longer be read.
            WorkerFailedError: if a worker process fails.
        """
        self._leave()
        loop = self._batches()
        self._loop = weakref.ref(loop)
        return loop

    def _batches(self) -> Generator[dict[str, np.ndarray]]:
        position = self._position = self._current()
        self._broken.reset(self.broken)
        made = self._made(position)
        with closing(in_background(made) if self.num_workers else made) as batches:
            for self._position, batch in batches:
                self.samples = batch.keys
                yield batch.arrays()
        if not self._plan.drop_last:  # there may have been broken samples after the last batch
            broken = len(self._broken.samples)
            self._position = self._position._replace(taken=len(self._order), broken=broken)

    def state_dict(self) -> dict[str, Any]:
        """Return the position after the last batch taken, as plain JSON values."""
        position = self._current()
        return to_state(position, self.broken[: position.broken], self._order_settings())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume where another loader with the same data and settings stopped.

        Args:
            state: the return value of `state_dict`. The next batch is the one that loader would have returned next.

        Raises:
            ValueError: if `state` is malformed, or settings that determine the order differ.
        """
        position, broken = from_state(state, self._order_settings())
        self._leave()
        self._position = position
        self._broken.reset(broken)

    def close(self) -> None:
        """End the iteration and the worker processes; a later iteration starts new ones."""
        self._leave()
        if self._pool is not None:
            self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _leave(self) -> None:
        """End the current iteration, if any: two at once would share workers and position."""
        loop = None if self._loop is None else self._loop()
        if loop is not None:
            loop.close()

    def _current(self) -> Position:
        """Return the position, or the start of the next epoch if this one is finished."""
        position = self._position
        is_over = position.batches == len(self) if self._plan.drop_last else position.taken >= len(self._order)
        return Position(position.epoch + 1) if is_over else position

    def _missing(self, position: Position, filled: int) -> int:
        """Return the number of samples needed to finish the epoch if none is broken."""
        if not self._plan.drop_last:
            return len(self._order) - position.taken
        return (len(self) - position.batches) * self.batch_size - filled

    def _made(self, position: Position) -> Generator[tuple[Position, Assembly]]:
        """Yield the remaining batches of an epoch, each with the position after it."""
        size = min(self.batch_size, len(self._order))  # of an array in memory
        batch = Assembly(size)
        while missing := self._missing(position, len(batch)):
            with closing(self._prepared(position, missing)) as parts:
                for row in chain.from_iterable(part.rows() for part in parts):
                    position = self._after(position, row)
                    if isinstance(row, PreparedSample):
                        batch.add(row)
                    if batch.is_full:
                        position = position._replace(batches=position.batches + 1)
                        yield position, batch
                        batch = Assembly(size)
        if len(batch):
            yield position._replace(batches=position.batches + 1), batch

    def _prepared(self, position: Position, samples: int) -> Generator[PreparedChunk]:
        """Yield up to `samples` prepared samples from a position on, in chunks."""
        size = min(_CHUNK, -(-self.batch_size // max(self.num_workers, 1)))
        entries = islice(self._order.entries(position.epoch, position.taken), samples)
        chunks = iter(lambda: Chunk(position.epoch, list(islice(entries, size))), Chunk(position.epoch, []))
        if self.num_workers == 0:
            yield from map(self._prepare, chunks)
            return
        if self._pool is None or self._pool.is_closed:
            self._pool = WorkerPool(self._prepare, self.num_workers)
        yield from self._pool.map(chunks, ahead=-(-self.prefetch * self.batch_size // size))

    def _after(self, position: Position, row: PreparedSample | Broken) -> Position:
        """Return the position after a sample, and log a broken or truncated one."""
        position = position._replace(taken=position.taken + 1)
        if isinstance(row, Broken):
            self._broken.add(row)
            return position._replace(broken=position.broken + 1)
        most = self._prepare.max_length
        if row.length <= most:
            return position
        if not self._told_truncation:
            self._told_truncation = True
            _logger.warning(
                "%s: caption truncated from %d to %d tokens; further ones are not logged",
                printable(row.key),
                row.length,
                most,
            )
        return position._replace(truncated=position.truncated + 1)

    def _order_settings(self) -> dict[str, Any]:
        """Return the settings that determine the order."""
        return {"samples": len(self.source), **asdict(self._plan)}
