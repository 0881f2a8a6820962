"""A file mapped in parts: their values, and the release of memory."""

from __future__ import annotations

import gc
import os
import sys

import numpy as np
import pytest

from clip_core.hub.changes import ChangedError
from converters.formats import mapped
from converters.formats.mapped import MappedFile
from support.messages import naming


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 64)
    return path


def descriptors():
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


@pytest.mark.parametrize("stretch", [4096, mapped._STRETCH])
@pytest.mark.parametrize(("start", "end"), [(0, 16384), (5, 6), (4000, 4200), (4096, 8192), (16383, 16384), (9, 9)])
def test_a_part_is_what_the_file_holds_there(file, monkeypatch, stretch, start, end):
    monkeypatch.setattr(mapped, "_STRETCH", stretch)
    assert MappedFile(file).part(start, end).tobytes() == file.read_bytes()[start:end]


def test_an_empty_file(tmp_path):
    (tmp_path / "empty").touch()
    assert MappedFile(tmp_path / "empty").part(0, 0).size == 0


def test_reading_beyond_the_end_is_refused(file):
    whole = MappedFile(file)
    with pytest.raises(ValueError, match=naming(16384, 16385)):
        whole.part(0, 16385)
    with pytest.raises(ValueError, match=naming(16384, 16386)):
        whole.read_into(np.empty(2, np.uint8), 16384)


@pytest.mark.parametrize(("shape", "dtype"), [((3, 2), "<i2"), ((), "<i4"), ((0, 4), "<i4"), ((16384,), "u1")])
def test_what_is_read_is_what_the_file_holds_there(file, shape, dtype):
    array = np.empty(shape, dtype)
    MappedFile(file).read_into(array, 16384 - array.nbytes)
    assert array.tobytes() == file.read_bytes()[16384 - array.nbytes :]


def test_a_file_that_is_cut_short_while_it_is_read(file):
    whole = MappedFile(file)
    os.truncate(file, 100)
    with pytest.raises(ChangedError, match=naming(file, 100)):
        whole.read_into(np.empty(200, np.uint8), 0)


def test_changes_stay_in_memory_and_are_seen_by_parts_that_are_alive(file):
    before = file.read_bytes()
    whole = MappedFile(file)
    part = whole.part(0, 4)
    part[:] = 9
    assert whole.part(2, 4).tolist() == [9, 9]
    assert file.read_bytes() == before
    del part
    assert whole.part(2, 4).tolist() == [2, 3]


def test_a_file_that_is_replaced_later_stays_what_it_was(file, tmp_path):
    whole = MappedFile(file)
    (tmp_path / "new").write_bytes(b"x")
    (tmp_path / "new").replace(file)
    assert whole.part(0, 3).tolist() == [0, 1, 2]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts file descriptors where Linux tells them")  # noqa: PTH112
def test_many_parts_need_few_descriptors_and_give_them_back(file):
    gc.collect()  # those of earlier tests
    before = descriptors()
    whole = MappedFile(file)
    parts = [whole.part(start, start + 8) for start in range(0, 16384, 8)]
    assert descriptors() <= before + 2
    del whole, parts
    gc.collect()
    assert descriptors() == before


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory as Linux tells it, in KiB")
def test_streaming_through_a_file_does_not_fill_memory_with_it(tmp_path, run_program):
    size = 6 * mapped._STRETCH
    with (tmp_path / "large").open("wb") as file:
        for _ in range(6):
            file.write(np.ones(mapped._STRETCH, np.uint8).data)
    program = f"""
from pathlib import Path
from converters.formats.mapped import MappedFile
from support.memory import peak
whole = MappedFile(Path({str(tmp_path / "large")!r}))
before = peak()
step = 2**20
assert sum(int(whole.part(start, start + step).sum()) for start in range(0, {size}, step)) == {size}
print(peak() - before)
"""
    assert int(run_program(program)) < 2 * mapped._STRETCH
