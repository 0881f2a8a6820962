"""Where a run's loaders stood, for as many processes as go on with it."""

from __future__ import annotations

import numpy as np
import pytest

from clip_core.data import PairLoader
from clip_core.training.positions import own_state, written
from support.training_data import assert_same, make_processor, picture, picture_bytes, taken

ROWS = [{"image": picture_bytes(number), "text": f"cat {number}"} for number in range(26)]


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return make_processor(tmp_path_factory.mktemp("vocabulary"))


def loaders(processor, count, rows=ROWS, batch_size=4):
    """Those of all processes, which take four pairs together."""
    share = batch_size // count
    return [
        PairLoader(rows, processor, batch_size=share, process_index=index, process_count=count)
        for index in range(count)
    ]


def stopped(processor, count, batches, rows=ROWS):
    """What a run of so many processes wrote after so many batches."""
    states = []
    for loader in loaders(processor, count, rows):
        taken(loader, batches)
        states.append(loader.state_dict())
    return written(states)


@pytest.mark.parametrize(("before", "now"), [(1, 2), (2, 1), (2, 2), (2, 4), (1, 1)])
@pytest.mark.parametrize("batches", [2, 6])  # in the middle of an epoch of six, and at its end
def test_any_number_of_processes_goes_on_with_the_same_batches(processor, before, now, batches):
    kept = stopped(processor, before, batches)
    assert isinstance(kept, dict) is (before == 1)
    (whole,) = loaders(processor, 1)
    taken(whole, batches)
    expected = taken(whole, 3)
    shares = []
    for loader in loaders(processor, now):
        loader.load_state_dict(own_state(kept, loader))
        shares.append(taken(loader, 3))
    together = [
        {
            "samples": [key for part in parts for key in part["samples"]],
            **{name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name != "samples"},
        }
        for parts in zip(*shares, strict=True)
    ]
    assert_same(together, expected)


def test_each_process_goes_on_behind_its_own_broken_samples_and_other_numbers_of_them_are_refused(processor):
    rows = [row if number % 9 else {"image": b"no picture", "text": "cat"} for number, row in enumerate(ROWS)]
    kept = stopped(processor, 2, 3, rows)
    assert len({state["taken"] for state in kept}) == 2
    for loader, uninterrupted in zip(loaders(processor, 2, rows), loaders(processor, 2, rows), strict=True):
        loader.load_state_dict(own_state(kept, loader))
        taken(uninterrupted, 3)
        assert_same(taken(loader, 2), taken(uninterrupted, 2))
    (one,) = loaders(processor, 1, rows)
    with pytest.raises(ValueError, match="of 2 processes, and now there are 1: with shards, Parquet files or broken"):
        own_state(kept, one)


def test_a_stream_is_refused_to_other_numbers_of_processes(processor):
    class Stream:
        def __iter__(self):
            return iter([{"image": picture(number), "text": "cat"} for number in range(12)])

    (one,) = loaders(processor, 1, Stream())
    with pytest.raises(ValueError, match="a run goes on with as many as it had"):
        own_state(stopped(processor, 2, 1, Stream()), one)


def test_another_batch_size_is_left_for_the_loader_to_refuse(processor):
    kept = stopped(processor, 2, 2)
    (one,) = loaders(processor, 1, batch_size=6)
    with pytest.raises(ValueError, match="the state is of a loader with batch_size=2"):
        one.load_state_dict(own_state(kept, one))
