"""Tar shards as the webdataset library writes them; truncated, damaged and counted."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile

import pytest

from clip_core.data.pairs import Broken
from clip_core.data.shards import ShardPairs
from support.messages import mentions, naming
from support.training_data import picture_bytes

# In a process of its own: it imports PyTorch.
WRITER = """
import sys, webdataset
from support.training_data import picture_bytes
with webdataset.ShardWriter(sys.argv[1] + "/%03d.tar", maxcount=4, verbose=0) as sink:
    for number in range(10):
        sink.write({"__key__": f"inner/{number:05}", "png": picture_bytes(number), "txt": f"cat {number}"})
with webdataset.TarWriter(sys.argv[1] + "/other.tar.gz") as sink:
    for number in range(3):
        sink.write({"__key__": f"{number:05}", "jpg": picture_bytes(number), "json": {"caption": f"dog {number}"}})
"""


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    path = next(entry for entry in sys.path if entry.endswith("tests"))
    program = f"import sys; sys.path.insert(0, {path!r}){WRITER}"
    subprocess.run([sys.executable, "-c", program, str(folder)], check=True, capture_output=True)
    return folder


def write_tar(path, files):
    source = path.parent / "content"
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            source.write_bytes(content)
            tar.add(source, name)
    return path


def read_all(pairs):
    return [pair for shard, size in enumerate(pairs.sizes) for pair in pairs.read(shard, 0, size)]


def test_shards_of_the_webdataset_library_are_read(shards):
    pairs = ShardPairs(sorted(shards.glob("0*.tar")))
    assert pairs.sizes == [4, 4, 2]
    found = read_all(pairs)
    assert [pair.captions for pair in found] == [(f"cat {number}",) for number in range(10)]
    assert [pair.image for pair in found] == [picture_bytes(number) for number in range(10)]
    assert found[4].key == f"{shards / '001.tar'} sample inner/00004"


def test_compressed_shards_and_captions_in_json_are_read(shards):
    pairs = ShardPairs([shards / "other.tar.gz"])
    assert [pair.captions for pair in read_all(pairs)] == [("dog 0",), ("dog 1",), ("dog 2",)]


@pytest.mark.parametrize(("start", "stop"), [(0, 4), (1, 3), (3, 4), (2, 2)])
@pytest.mark.parametrize("name", ["000.tar", "other.tar.gz"])
def test_a_part_of_a_shard_is_read(shards, name, start, stop):
    pairs = ShardPairs([shards / name])
    stop = min(stop, pairs.sizes[0])
    assert list(pairs.read(0, start, stop)) == read_all(pairs)[start:stop]


def test_endings_and_keys_can_be_chosen(tmp_path):
    files = {"a.jpg": b"jpg", "a.seg.png": b"segments", "a.json": b'{"title": "cat", "text": "dog"}', "a.alt": b"alt"}
    tar = write_tar(tmp_path / "a.tar", files)
    assert read_all(ShardPairs([tar], caption="title"))[0].captions == ("cat",)
    assert read_all(ShardPairs([tar], caption="alt"))[0].captions == ("alt",)
    chosen = read_all(ShardPairs([tar], image="seg.png"))[0]
    assert (chosen.image, chosen.captions) == (b"segments", ("dog",))


def test_samples_that_lack_something_are_broken(tmp_path):
    files = {"a.txt": b"a", "b.png": b"b", "c.png": b"c", "c.txt": b"", "d.png": b"d", "d.txt": b"\xff"}
    files |= {"e.png": b"e", "e.json": b"{", "f.png": b"f", "f.json": b"[]", "__meta__.json": b"{}"}
    tar = write_tar(tmp_path / "a.tar", files)
    broken = read_all(ShardPairs([tar]))
    assert all(isinstance(sample, Broken) for sample in broken)
    assert [sample.key for sample in broken] == [f"{tar} sample {name}" for name in "abcdef"]
    reasons = [sample.reason for sample in broken]
    for reason, part in zip(reasons, ("image", *["caption"] * 5), strict=True):
        assert mentions(reason, part)


def test_two_files_of_one_ending_in_a_sample_are_told(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        (tmp_path / "content").write_bytes(b"x")
        tar.add(tmp_path / "content", "a.png")
        tar.add(tmp_path / "content", "a.PNG")
    with pytest.raises(ValueError, match=naming(tmp_path / "a.tar", "sample a", ".png")):
        _ = ShardPairs([tmp_path / "a.tar"]).sizes


@pytest.mark.parametrize("name", ["000.tar", "other.tar.gz"])
def test_a_shard_that_is_cut_off_anywhere_is_told_with_the_place(shards, tmp_path, name):
    content = (shards / name).read_bytes()
    end = len(content) - 64  # what comes after is zeros, packed, and a checksum
    if name.endswith(".tar"):
        with tarfile.open(shards / name) as tar:
            last = tar.getmembers()[-1]
        end = last.offset_data + -(-last.size // 512) * 512  # what comes after is zeros
    for cut in {*range(1, end, 211), end - 1, end}:
        path = tmp_path / name
        path.write_bytes(content[:cut])
        with pytest.raises(ValueError, match=naming(path)):
            _ = ShardPairs([path]).sizes
        assert_reading_stops(path)


def assert_reading_stops(path):
    """Check that a truncated shard is refused while it is read, when a sizes.json states its number of pairs."""
    (path.parent / "sizes.json").write_text(json.dumps({path.name: 5}))
    with pytest.raises(ValueError, match=naming(path)):
        list(ShardPairs([path]).read(0, 0, 5))
    (path.parent / "sizes.json").unlink()


def test_sizes_are_read_where_they_are_stated(shards, tmp_path):
    for name in ("000.tar", "001.tar"):
        (tmp_path / name).write_bytes((shards / name).read_bytes())
    (tmp_path / "sizes.json").write_text('{"000.tar": 5}')
    pairs = ShardPairs([tmp_path / "000.tar", tmp_path / "001.tar"])
    assert pairs.sizes == [5, 4]
    with pytest.raises(ValueError, match=naming("000.tar", 4, 5, "sizes.json")):
        list(pairs.read(0, 0, 5))
    (tmp_path / "sizes.json").write_text('{"000.tar": "many"}')
    with pytest.raises(ValueError, match=naming(tmp_path / "sizes.json")):
        _ = ShardPairs([tmp_path / "000.tar"]).sizes


def test_a_missing_shard_and_one_that_is_something_else_are_told(tmp_path):
    with pytest.raises(ValueError, match=naming(tmp_path / "gone.tar")):
        _ = ShardPairs([tmp_path / "gone.tar"]).sizes
    (tmp_path / "text.tar").write_text("not a tar file" * 100)
    with pytest.raises(ValueError, match=naming(tmp_path / "text.tar")):
        _ = ShardPairs([tmp_path / "text.tar"]).sizes
