"""`open_pairs` recognizes every source, and refuses any other."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile

import pytest
from pyarrow import parquet, table

from clip_core.data import open_pairs
from clip_core.data.folder import FolderPairs
from clip_core.data.parquet import ParquetPairs
from clip_core.data.rows import RowPairs, RowStream
from clip_core.data.shards import ShardPairs
from clip_core.data.sources import expand_braces
from support.messages import naming
from support.training_data import picture_bytes, write_folder


def write_tar(path):
    folder = write_folder(path.parent / f"of-{path.stem}", 2)
    with tarfile.open(path, "w") as tar:
        for file in sorted(folder.iterdir()):
            tar.add(file, file.name)
    return path


def write_parquet(path):
    parquet.write_table(table({"image": [picture_bytes(0)], "text": ["cat"]}), path)
    return path


def test_a_folder_of_pictures_and_captions(tmp_path):
    pairs = open_pairs(str(write_folder(tmp_path, 3)))
    assert isinstance(pairs, FolderPairs)
    assert len(pairs) == 3


@pytest.mark.parametrize("give", ["folder", "table"])
def test_a_folder_with_a_table_and_the_table_itself(tmp_path, give):
    write_folder(tmp_path, 1)
    (tmp_path / "metadata.csv").write_text("file_name,caption\n000.png,out of the table\n")
    pairs = open_pairs(tmp_path if give == "folder" else tmp_path / "metadata.csv")
    assert pairs[0].captions == ("out of the table",)


def test_shards_by_path_pattern_braces_list_and_folder(tmp_path):
    shards = tmp_path / "shards"
    shards.mkdir()
    for number in (8, 9, 10):
        write_tar(tmp_path / f"{number:02}.tar").rename(shards / f"{number:02}.tar")
    for source, count in [
        (shards / "08.tar", 1),
        (f"{shards}/*.tar", 3),
        (f"{shards}/{{08..10}}.tar", 3),
        (f"{shards}/{{08,10}}.tar", 2),
        ([f"{shards}/0*.tar", str(shards / "10.tar")], 3),
        (shards, 3),
    ]:
        pairs = open_pairs(source)
        assert isinstance(pairs, ShardPairs)
        assert pairs.sizes == [2] * count


def test_parquet_files_by_path_and_folder(tmp_path):
    write_parquet(tmp_path / "a.parquet")
    for source in (tmp_path / "a.parquet", tmp_path):
        pairs = open_pairs(source)
        assert isinstance(pairs, ParquetPairs)
        assert len(pairs) == 1


def test_objects_by_what_they_can_do():
    rows = [{"image": b"x", "text": "a"}]
    stream = type("Stream", (), {"__iter__": lambda self: iter(rows)})()
    assert isinstance(open_pairs(rows), RowPairs)
    assert isinstance(open_pairs(stream), RowStream)
    pairs = open_pairs(rows)
    assert open_pairs(pairs) is pairs


def test_braces_are_written_out_as_shells_do():
    assert expand_braces("a{08..10}{x,y}.tar") == [f"a{n}{c}.tar" for n in ("08", "09", "10") for c in "xy"]
    assert expand_braces("{9..11}") == ["9", "10", "11"]
    assert expand_braces("a{b}c") == ["a{b}c"]
    assert expand_braces("{9..1}") == []
    for pattern in ("x-{0..99999999999}.tar", "{0..99}" * 6, "{a,b}" * 40):
        with pytest.raises(ValueError, match=naming("1,000,000")):
            expand_braces(pattern)


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("gone", ["gone"]),
        ("*.tar", ["*.tar"]),
        ("notes.md", ["notes.md", ".jsonl", ".csv", ".tsv", ".tar", ".parquet"]),
        ("empty", ["empty"]),
        ("empty.csv", ["empty.csv"]),
        ("saved", ["saved", "datasets.load_from_disk"]),
        ("mixed", ["mixed", ".tar", ".parquet"]),
        ("{notes.md,empty.csv}", ["notes.md", 1, ".tar", ".parquet"]),
    ],
)
def test_paths_to_something_else_are_refused(tmp_path, name, named):
    (tmp_path / "notes.md").write_text("words")
    (tmp_path / "empty.csv").touch()
    for folder in ("empty", "saved", "mixed"):
        (tmp_path / folder).mkdir()
    (tmp_path / "saved/dataset_info.json").touch()
    for ending in ("tar", "parquet"):
        (tmp_path / f"mixed/a.{ending}").touch()
    with pytest.raises(ValueError, match=naming(tmp_path / named[0], *named[1:])):
        open_pairs(tmp_path / name)


@pytest.mark.parametrize("source", ["https://example.com/a.tar", "s3://bucket/a.parquet", "pipe:cat a.tar"])
def test_remote_data_is_refused(source):
    with pytest.raises(ValueError, match=naming(source)):
        open_pairs(source)


@pytest.mark.parametrize(
    ("source", "named"),
    [
        (3, [int, ".jsonl", ".csv", ".tsv", ".tar", ".parquet"]),
        (iter([{"image": b"x", "text": "a"}]), ["list_iterator", list]),
        ({"train": [], "test": []}, [dict, "train", "test", "data['train']"]),
    ],
)
def test_objects_of_other_kinds_are_refused(source, named):
    with pytest.raises(TypeError, match=naming(*named)):
        open_pairs(source)


def test_empty_data_are_refused():
    for source in ([], type("Stream", (), {"__iter__": lambda self: iter([])})()):
        with pytest.raises(ValueError, match=naming(type(source))):
            open_pairs(source)


def test_the_emoji_with_their_labels_are_a_table(shared, tmp_path):
    labels = json.loads((shared / "emoji/labels.json").read_text())
    rows = [{"file_name": str(shared / "emoji/pictures" / name), "text": text} for name, text in labels.items()]
    (tmp_path / "emoji.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pairs = open_pairs(tmp_path / "emoji.jsonl")
    assert len(pairs) == 32
    assert pairs[0].captions == ("cat",)


def test_reading_every_source_loads_no_framework_and_no_library_that_is_not_needed(tmp_path):
    write_folder(tmp_path / "folder", 2)
    write_tar(tmp_path / "a.tar")
    program = f"""
import sys
import tarfile
from clip_core.data import open_pairs
list(open_pairs({str(tmp_path / "a.tar")!r}).read(0, 0, 2))
open_pairs({str(tmp_path / "folder")!r})[0]
names = ("torch", "tensorflow", "jax", "keras", "flax", "transformers", "webdataset", "datasets", "pyarrow", "pandas")
print([name for name in names if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert run.stdout == "[]\n"
