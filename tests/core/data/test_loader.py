"""The loader's promises: one order whatever the workers, exact shares, exact resuming, broken samples and bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from clip_core.data import PairLoader, RandomCrop, RandomResizedCrop, open_pairs
from support.messages import naming
from support.programs import is_alive
from support.training_data import LENGTH, assert_same, keys, make_processor, rows_of, taken


def stream_of(count):
    """Return rows that can only be iterated over."""

    class Stream:
        def __iter__(self):
            return iter(rows_of(count))

    return Stream()


def test_batches_are_numpy_in_the_shapes_and_dtypes_of_a_model(processor, folder):
    loader = PairLoader(open_pairs(folder), processor, batch_size=4)
    batches = list(loader)
    assert len(batches) == len(loader) == 5
    for batch in batches:
        assert {name: (array.shape, array.dtype) for name, array in batch.items()} == {
            "pixel_values": ((4, 3, 8, 8), np.float32),
            "input_ids": ((4, LENGTH), np.int64),
            "attention_mask": ((4, LENGTH), np.int64),
        }
        assert all(array.flags.writeable and array.flags.c_contiguous for array in batch.values())


def test_a_row_is_what_the_processor_makes_of_picture_and_caption(processor, folder):
    loader = PairLoader(folder, processor, batch_size=4)
    for batch in loader:
        for place, name in enumerate(loader.samples):
            text = Path(name).with_suffix(".txt").read_text()
            alone = processor(text=text, images=name, padding="max_length", return_tensors="np")
            assert all(np.array_equal(batch[part][place], alone[part][0]) for part in batch)


def test_an_epoch_takes_every_sample_once_and_the_next_in_another_order(processor, folder):
    loader = PairLoader(folder, processor, batch_size=1, drop_last=False)
    first, second = keys(taken(loader)), keys(taken(loader))
    assert sorted(first) == sorted(second) == [f"{number:03}" for number in range(23)]
    assert first != second
    assert first != sorted(first)
    assert loader.epoch == 1


def test_without_shuffling_the_order_is_that_of_the_data(processor, folder):
    loader = PairLoader(folder, processor, batch_size=5, shuffle=False, drop_last=False)
    assert keys(taken(loader)) == [f"{number:03}" for number in range(23)]
    assert [len(batch["input_ids"]) for batch in loader] == [5, 5, 5, 5, 3]


@pytest.mark.parametrize("make_source", [rows_of, stream_of], ids=["indexed", "streamed"])
def test_batches_are_the_same_for_any_number_of_workers(processor, make_source):
    def two_epochs(num_workers):
        settings = {"batch_size": 4, "augmentation": RandomResizedCrop(scale=(0.3, 1), flip=0.5), "shuffle_buffer": 7}
        source = make_source(23) if make_source is stream_of else [*rows_of(22), {"image": b"broken", "text": "a"}]
        with PairLoader(source, processor, num_workers=num_workers, **settings) as loader:
            return taken(loader) + taken(loader)

    alone = two_epochs(0)
    assert_same(alone, two_epochs(1))
    assert_same(alone, two_epochs(2))


@pytest.mark.parametrize("make_source", [rows_of, stream_of], ids=["indexed", "streamed"])
def test_a_resumed_loader_gives_exactly_the_rest_wherever_it_stopped(processor, make_source):
    def loader():
        # Every 5th row is broken, so that positions in the data and in the batches differ.
        rows = [{**row, "text": "" if place % 5 == 0 else row["text"]} for place, row in enumerate(rows_of(23))]
        source = rows if make_source is rows_of else type("Stream", (), {"__iter__": lambda _: iter(rows)})()
        return PairLoader(source, processor, batch_size=3, augmentation=RandomCrop(), shuffle_buffer=7)

    whole = loader()
    uninterrupted = taken(whole) + taken(whole)
    assert len(uninterrupted) == 2 * len(whole)
    for stop in range(len(uninterrupted) + 1):
        before = loader()
        for part in (min(stop, len(whole)), max(stop - len(whole), 0)):
            if part:
                taken(before, part)
        state = json.loads(json.dumps(before.state_dict()))
        after = loader()
        after.load_state_dict(state)
        assert after.state_dict() == state
        rest = taken(after) if stop < 2 * len(whole) else []
        if stop < len(whole):
            rest += taken(after)
        assert_same(uninterrupted[stop:], rest)


def test_a_loader_with_workers_ahead_resumes_at_the_batch_that_was_taken_last(processor, folder):
    settings = {"batch_size": 3, "augmentation": RandomCrop(flip=0.5)}
    uninterrupted = taken(PairLoader(folder, processor, **settings))
    with PairLoader(folder, processor, num_workers=2, prefetch=4, **settings) as before:
        taken(before, 2)
        state = before.state_dict()
        assert_same(uninterrupted[2:], taken(before))  # a loop that was left goes on, too
    with PairLoader(folder, processor, num_workers=1, **settings) as after:
        after.load_state_dict(state)
        assert_same(uninterrupted[2:], taken(after))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_second_loop_goes_on_where_the_first_is_and_ends_it(processor, folder, num_workers):
    uninterrupted = taken(PairLoader(folder, processor, batch_size=3))
    with PairLoader(folder, processor, batch_size=3, num_workers=num_workers) as loader:
        first = iter(loader)
        assert np.array_equal(next(first)["pixel_values"], uninterrupted[0]["pixel_values"])
        assert_same(uninterrupted[1:], taken(loader))
        assert next(first, None) is None
        state = PairLoader(folder, processor, batch_size=3).state_dict()
        second = iter(loader)
        next(second)
        loader.load_state_dict(state)
        assert next(second, None) is None
        assert_same(uninterrupted, taken(loader))


def test_two_processes_together_take_the_batch_of_one(processor, folder):
    one = taken(PairLoader(folder, processor, batch_size=6))
    shares = [
        taken(PairLoader(folder, processor, batch_size=3, process_index=index, process_count=2)) for index in range(2)
    ]
    for whole, left, right in zip(one, *shares, strict=True):
        assert whole["samples"] == left["samples"] + right["samples"]
        assert np.array_equal(whole["pixel_values"], np.concatenate([left["pixel_values"], right["pixel_values"]]))


@pytest.mark.parametrize("make_source", [rows_of, stream_of], ids=["indexed", "streamed"])
@pytest.mark.parametrize("processes", [2, 3])
def test_processes_get_equal_numbers_of_batches_and_no_sample_twice(processor, make_source, processes):
    def share(index):
        loader = PairLoader(
            make_source(23), processor, batch_size=2, process_index=index, process_count=processes, shuffle_buffer=5
        )
        return keys(taken(loader)) + keys(taken(loader))

    shares = [share(index) for index in range(processes)]
    assert len({len(one) for one in shares}) == 1
    half = len(shares[0]) // 2
    assert half == 23 // (2 * processes) * 2
    for epoch in (slice(None, half), slice(half, None)):
        samples = [key for one in shares for key in one[epoch]]
        assert len(set(samples)) == len(samples)


def test_random_choices_depend_on_seed_epoch_and_sample_alone(processor, folder):
    def by_key(**settings):
        loader = PairLoader(folder, processor, augmentation=RandomResizedCrop(scale=(0.1, 1)), **settings)
        return {
            key: row
            for batch in taken(loader)
            for key, row in zip(batch["samples"], batch["pixel_values"], strict=True)
        }

    plain, other_order = by_key(batch_size=23, shuffle=False), by_key(batch_size=4)
    assert all(np.array_equal(plain[key], row) for key, row in other_order.items())
    other_seed = by_key(batch_size=23, seed=1)
    assert not all(np.array_equal(plain[key], row) for key, row in other_seed.items())


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"batch_size": 24}, ["batch_size=24", 23]),
        ({"batch_size": 8, "process_count": 3}, ["batch_size=8", 3, 23]),
        ({"batch_size": 1}, ["batch_size=2", "drop_last=False"]),
        ({"batch_size": 0}, ["batch_size=0", 1]),
        ({"batch_size": 2, "seed": -1}, ["seed=-1", 0]),
        ({"batch_size": 2, "max_broken": -1}, ["max_broken=-1", 0]),
        ({"batch_size": 2, "process_index": 2, "process_count": 2}, ["process_index=2", "process_count=2"]),
        ({"batch_size": 2, "process_count": 2, "drop_last": False}, ["drop_last=False"]),
    ],
)
def test_settings_that_cannot_be_right_are_refused(processor, folder, settings, named):
    with pytest.raises(ValueError, match=naming(*named)):
        PairLoader(folder, processor, **settings)


def test_a_batch_of_one_for_each_of_two_processes_has_negatives(processor, folder):
    assert len(PairLoader(folder, processor, batch_size=1, process_count=2)) == 11


def test_an_image_processor_of_various_shapes_is_refused(tmp_path, folder):
    processor = make_processor(tmp_path)
    processor.image_processor.do_center_crop = False
    with pytest.raises(ValueError, match=naming("do_center_crop=True", "crop_size")):
        PairLoader(folder, processor, batch_size=2)


def test_a_state_of_other_settings_or_of_something_else_is_refused(processor, folder):
    state = PairLoader(folder, processor, batch_size=2).state_dict()
    other = PairLoader(folder, processor, batch_size=3, seed=4)
    with pytest.raises(ValueError, match=naming("batch_size=2", "seed=0", "batch_size=3", "seed=4")):
        other.load_state_dict(state)
    with pytest.raises(ValueError, match=naming("PairLoader", "'broken'")):
        other.load_state_dict({"epoch": 1})


def test_an_error_in_a_worker_is_raised_with_its_text(processor, folder):
    class FailsInWorker(RandomCrop):
        __module__ = "os"  # where a worker looks for it in vain
        __qualname__ = "NoSuchClass"

    os.NoSuchClass = FailsInWorker  # type: ignore[attr-defined]  so that it can be pickled
    try:
        loader = PairLoader(folder, processor, batch_size=2, augmentation=FailsInWorker(), num_workers=1)
        with pytest.raises(RuntimeError, match=naming("NoSuchClass")):
            taken(loader)
    finally:
        del os.NoSuchClass  # type: ignore[attr-defined]


def test_a_killed_worker_is_an_error_and_the_next_loop_starts_another(processor, folder):
    with PairLoader(folder, processor, batch_size=2, num_workers=1, prefetch=1) as loader:
        before = taken(loader, 1)
        loader._pool._workers[0].process.kill()
        with pytest.raises(RuntimeError, match=naming("SIGKILL")):
            taken(loader)
        assert_same(taken(PairLoader(folder, processor, batch_size=2)), before + taken(loader))


SCRIPT = """
import sys, time
sys.path[:0] = [{tests!r}]
sys.modules["torch"] = None  # the main script has a framework; its workers shall not hear of it
raise_if_imported_again = {guard!r}
import pathlib
pathlib.Path(raise_if_imported_again).touch(exist_ok=False)
from clip_core.data import PairLoader
from support.training_data import make_processor, rows_of
loader = PairLoader({folder!r}, make_processor(pathlib.Path({vocabulary!r})), batch_size=2, num_workers=2)
for batch in loader:
    print(*(worker.process.pid for worker in loader._pool._workers), flush=True)
    time.sleep(60)
"""


def test_workers_do_not_import_the_main_script_load_no_framework_and_die_with_the_parent(folder, tmp_path):
    script = tmp_path / "train.py"
    tests = next(path for path in sys.path if path.endswith("tests"))
    script.write_text(
        SCRIPT.format(tests=tests, guard=str(tmp_path / "ran"), folder=str(folder), vocabulary=str(tmp_path))
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    workers = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(workers) == 2
    if sys.platform == "linux":
        for pid in workers:
            libraries = Path(f"/proc/{pid}/maps").read_text()
            assert "numpy" in libraries
            assert not any(name in libraries for name in ("libtorch", "tensorflow", "jaxlib"))
    parent.kill()
    parent.communicate()
    end = time.monotonic() + 20
    while any(is_alive(pid) for pid in workers):
        assert time.monotonic() < end, "a worker outlived its parent"
        time.sleep(0.05)
