"""The order of samples: each process's share, pieces of streams, and starting anywhere."""

from __future__ import annotations

from itertools import islice

import pytest

from clip_core.data.order import Plan, order_of
from clip_core.data.pairs import IndexedPairs, Pair, StreamedPairs


class Numbers(IndexedPairs):
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index, /):
        return Pair(str(index), b"", (str(index),))


class Shards(StreamedPairs):
    """Shards of consecutive numbers that record reads."""

    def __init__(self, *sizes):
        self._sizes = sizes
        self.reads = []

    @property
    def sizes(self):
        return self._sizes

    def read(self, shard, start, stop):
        self.reads.append((shard, start, stop))
        first = sum(self._sizes[:shard])
        for number in range(first + start, first + stop):
            yield Pair(str(number), b"", (str(number),))


def order(source, batch_size=2, index=0, count=1, *, shuffle=True, shuffle_buffer=4, seed=0):
    return order_of(source, Plan(batch_size, True, index, count, seed, shuffle, shuffle_buffer))


def samples(one, epoch=0, start=0, length=None):
    entries = islice(one.entries(epoch, start), len(one) if length is None else length)
    return [int(entry.pair.key) for entry in entries]


@pytest.mark.parametrize("make_source", [lambda: Numbers(29), lambda: Shards(7, 1, 12, 9)], ids=["indexed", "streamed"])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("shuffle", [True, False])
def test_shares_are_equal_disjoint_and_nearly_all(make_source, count, shuffle):
    orders = [order(make_source(), 2, index, count, shuffle=shuffle) for index in range(count)]
    assert len({len(one) for one in orders}) == 1
    taken = [number for one in orders for number in samples(one)]
    assert len(set(taken)) == len(taken)
    assert len(taken) == 29 // count * count or len(taken) >= 29 // (2 * count) * 2 * count
    assert set(taken) <= set(range(29))


@pytest.mark.parametrize("make_source", [lambda: Numbers(29), lambda: Shards(7, 1, 12, 9)], ids=["indexed", "streamed"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_start_gives_the_rest_and_then_the_beginning_again(make_source, shuffle):
    one = order(make_source(), 2, 1, 2, shuffle=shuffle)
    whole = samples(one, epoch=3)
    for start in range(2 * len(one)):
        assert samples(one, 3, start) == (whole + whole)[start % len(one) :][: len(one)]


@pytest.mark.parametrize("make_source", [lambda: Numbers(29), lambda: Shards(7, 1, 12, 9)], ids=["indexed", "streamed"])
def test_the_order_depends_on_epoch_and_seed(make_source):
    first = samples(order(make_source()))
    assert samples(order(make_source())) == first
    assert samples(order(make_source()), epoch=1) != first
    assert samples(order(make_source(), seed=1)) != first
    assert sorted(first) == list(range(29))


def test_processes_take_turns_of_a_batch():
    shares = [samples(order(Numbers(22), 3, index, 2, shuffle=False)) for index in range(2)]
    assert shares == [[0, 1, 2, 6, 7, 8, 12, 13, 14, 18, 19], [3, 4, 5, 9, 10, 11, 15, 16, 17, 20, 21]]


def test_a_stream_without_shuffling_is_in_order():
    assert samples(order(Shards(3, 2, 4), shuffle=False)) == list(range(9))


def test_the_pieces_of_a_stream_are_shuffled_in_themselves():
    source = Shards(100)
    taken = samples(order(source, shuffle_buffer=10))
    for piece in range(10):
        inside = taken[piece * 10 : piece * 10 + 10]
        assert sorted(inside) == list(range(piece * 10, piece * 10 + 10))
        assert inside != sorted(inside)


def test_resuming_a_stream_reads_no_more_than_a_piece_again():
    source = Shards(50, 50, 50)
    one = order(source, shuffle_buffer=10, shuffle=True)
    samples(one, start=97, length=1)
    assert sum(stop - start for _, start, stop in source.reads) == 10


def test_a_sample_is_named_by_its_shard_and_number():
    entries = list(islice(order(Shards(2, 3), shuffle=False).entries(0, 0), 5))
    assert [entry.sample for entry in entries] == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
