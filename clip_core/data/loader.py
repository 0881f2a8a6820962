"""PairLoader: image-text pairs as numpy batches, ahead of whoever takes them."""

from __future__ import annotations

import logging
import weakref
from contextlib import closing
from dataclasses import asdict
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Self

from clip_core.data.background import in_background
from clip_core.data.batches import Assembly, BrokenSamples, Position, from_state, to_state
from clip_core.data.order import Plan, check_least, order_of
from clip_core.data.pairs import Broken
from clip_core.data.pool import WorkerPool
from clip_core.data.preparation import Chunk, Preparation, Row, text_length
from clip_core.data.sources import open_pairs

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import numpy as np

    from clip_core.data.augmentation import Augmentation
    from clip_core.data.preparation import Prepared
    from clip_core.processing import CLIPProcessor

_CHUNK = 16  # the most samples that a worker does at a time
_logger = logging.getLogger(__name__)


class PairLoader:
    """Batches of image-text pairs, the same whatever the framework and the number of workers.

    A loop over it is the rest of an epoch, or the next one where that is over. The order is fixed by the data, `seed`
    and the epoch; random choices about a sample by `seed`, the epoch and the sample.

    Args:
        source: what `open_pairs` returned, or takes.
        processor: the model's.
        batch_size: pairs in a batch of this process.
        max_length: tokens in a row of text, the model's `max_position_embeddings`; by default what the tokenizer
            states. Longer captions are cut, which is logged once and counted in `truncated`.
        augmentation: `RandomCrop()` or `RandomResizedCrop()` for training; None for the processor's own resizing and
            cropping, as for evaluation.
        shuffle: anew in each epoch.
        drop_last: leave out what does not fill a batch, as training does. If not, the last batch may be smaller;
            for one process.
        seed: 0 or more.
        shuffle_buffer: how many samples of shards and Parquet files are in memory to be shuffled.
        process_index: of this process, where several train one model.
        process_count: of all. They get the same number of batches, and no sample twice.
        num_workers: processes that decode and prepare; 0 for none but this one.
        prefetch: how many batches the workers are ahead.
        max_broken: how many broken samples are skipped in an epoch before they are an error.

    Raises:
        ValueError: an argument is not valid, or the batch is larger than the data.

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
        check_least(num_workers=(num_workers, 0), prefetch=(prefetch, 1), max_broken=(max_broken, 0))
        self._plan = Plan(batch_size, drop_last, process_index, process_count, seed, shuffle, shuffle_buffer)
        self.source = open_pairs(source)
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.prefetch = prefetch
        self._order = order_of(self.source, self._plan)
        self._prepare = Preparation(processor, text_length(processor, max_length), augmentation, seed)
        _ = self._prepare.shape  # an image processor that makes no batches is an error now
        self._broken = BrokenSamples(max_broken)
        self._position = Position()
        self._pool: WorkerPool | None = None
        self._loop: weakref.ref[Generator[dict[str, np.ndarray]]] | None = None
        self._told_truncation = False
        self.samples: list[str] = []
        """The keys of the last batch's samples, in its order."""

    def __len__(self) -> int:
        """The number of batches in an epoch; where `drop_last` is false and samples are broken, the most."""
        full, rest = divmod(len(self._order), self.batch_size)
        return full + (not self._plan.drop_last and rest > 0)

    @property
    def epoch(self) -> int:
        """The epoch of the last batch, from 0."""
        return self._position.epoch

    @property
    def broken(self) -> list[Broken]:
        """The samples that were skipped in this epoch so far, with the reasons."""
        return self._broken.samples[: self._position.broken]

    @property
    def truncated(self) -> int:
        """The number of captions that were cut in this epoch so far."""
        return self._position.truncated

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """The rest of the epoch, or the next one. A loop that was begun before ends here.

        Yields:
            `pixel_values` (batch, channels, height, width), float32; `input_ids` and `attention_mask` (batch, seq),
            int64. The arrays are the caller's own.

        Raises:
            BrokenSamplesError: more than `max_broken` samples of the epoch are broken.
            ValueError: the data cannot be read any more.
            WorkerFailedError: a worker process did.
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
        """Where the loader is: after the last batch that was taken from it. Plain JSON values."""
        position = self._current()
        return to_state(position, self.broken[: position.broken], self._order_settings())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a loader of the same data and settings was; the next batch is the one it would have given.

        Raises:
            ValueError: the settings that the order depends on are others, or it is no state of a loader.
        """
        position, broken = from_state(state, self._order_settings())
        self._leave()
        self._position = position
        self._broken.reset(broken)

    def close(self) -> None:
        """End the loop and the worker processes; a later loop starts new ones."""
        self._leave()
        if self._pool is not None:
            self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _leave(self) -> None:
        """End the loop that is under way, if any: two at a time would share workers and position."""
        loop = None if self._loop is None else self._loop()
        if loop is not None:
            loop.close()

    def _current(self) -> Position:
        """The position, or the next epoch's beginning where it is the end of one."""
        position = self._position
        is_over = position.batches == len(self) if self._plan.drop_last else position.taken >= len(self._order)
        return Position(position.epoch + 1) if is_over else position

    def _missing(self, position: Position, filled: int) -> int:
        """How many samples are needed to end the epoch, if none is broken."""
        if not self._plan.drop_last:
            return len(self._order) - position.taken
        return (len(self) - position.batches) * self.batch_size - filled

    def _made(self, position: Position) -> Generator[tuple[Position, Assembly]]:
        """The rest of an epoch's batches, each with the position behind it."""
        batch = Assembly(self.batch_size)
        while missing := self._missing(position, len(batch)):
            with closing(self._prepared(position, missing)) as parts:
                for row in chain.from_iterable(part.rows() for part in parts):
                    position = self._after(position, row)
                    if isinstance(row, Row):
                        batch.add(row)
                    if batch.is_full:
                        position = position._replace(batches=position.batches + 1)
                        yield position, batch
                        batch = Assembly(self.batch_size)
        if len(batch):
            yield position._replace(batches=position.batches + 1), batch

    def _prepared(self, position: Position, samples: int) -> Generator[Prepared]:
        """So many samples from a position on, prepared, in chunks."""
        size = min(_CHUNK, -(-self.batch_size // max(self.num_workers, 1)))
        entries = islice(self._order.entries(position.epoch, position.taken), samples)
        chunks = iter(lambda: Chunk(position.epoch, list(islice(entries, size))), Chunk(position.epoch, []))
        if self.num_workers == 0:
            yield from map(self._prepare, chunks)
            return
        if self._pool is None or self._pool.is_closed:
            self._pool = WorkerPool(self._prepare, self.num_workers)
        yield from self._pool.map(chunks, ahead=-(-self.prefetch * self.batch_size // size))

    def _after(self, position: Position, row: Row | Broken) -> Position:
        """The position behind a sample; tells what there is to tell of it."""
        position = position._replace(taken=position.taken + 1)
        if isinstance(row, Broken):
            self._broken.add(row)
            return position._replace(broken=position.broken + 1)
        most = self._prepare.max_length
        if row.length <= most:
            return position
        if not self._told_truncation:
            self._told_truncation = True
            _logger.warning("%s: its caption of %d tokens is cut to %d, as others may be", row.key, row.length, most)
        return position._replace(truncated=position.truncated + 1)

    def _order_settings(self) -> dict[str, Any]:
        """What the order depends on."""
        return {"samples": len(self.source), **asdict(self._plan)}
