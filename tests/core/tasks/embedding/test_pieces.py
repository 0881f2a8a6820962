from __future__ import annotations

import pytest

from clip_core.tasks.embedding.pieces import Piece, find_files
from support.embedding import write, write_images, write_shard, write_table
from support.messages import naming


def names(found):
    return sorted(path.removeprefix(found.place.root).lstrip("/") for path in found.sizes)


def test_patterns_folders_and_files_are_found(tmp_path, monkeypatch):
    for number in range(3):
        write_shard(str(tmp_path / f"shards/{number:03}.tar"), [number])
    write_images(str(tmp_path / "images"), range(3))
    monkeypatch.chdir(tmp_path)
    assert names(find_files("shards")) == ["000.tar", "001.tar", "002.tar"]
    assert names(find_files("shards/{000..001}.tar")) == ["000.tar", "001.tar"]
    assert names(find_files("shards/00[12].tar")) == ["001.tar", "002.tar"]
    assert names(find_files("shards/002.tar")) == ["002.tar"]
    assert names(find_files("images/*/*.png")) == ["0/000.png", "0/001.png", "0/002.png"]
    assert names(find_files(f"file://{tmp_path}/images")) == names(find_files("images"))
    assert find_files("shards/*").kind == (".tar", ".tar.gz", ".tgz")
    assert find_files("images").kind == ()


def test_a_file_whose_name_looks_like_a_pattern_is_found(tmp_path):
    write_shard(str(tmp_path / "a[1].tar"), [1])
    assert names(find_files(str(tmp_path / "a[1].tar"))) == ["a[1].tar"]


@pytest.mark.parametrize("source", ["missing", "no-*", "a-{0..2}.tar", "mixed", "mixed/*", "empty", "notes.txt", ""])
def test_a_source_without_images_is_named(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    write_shard("mixed/a.tar", [1])
    write_table("mixed/a.parquet", {"image": [b""]})
    write("notes.txt", b"notes")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=naming(source.replace("{0..2}", "0") or "empty")):
        find_files(source)


def test_a_file_that_a_pattern_matches_and_that_holds_no_images_is_named(tmp_path):
    for name in ("one.png", "labels.json"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=naming(tmp_path / "*", "labels.json")):
        find_files(str(tmp_path / "*"))


def test_an_unknown_protocol_is_named():
    with pytest.raises(ValueError, match=naming("odd://bucket/x")):
        find_files("odd://bucket/x")


def test_the_file_of_a_part_depends_on_the_piece_alone():
    long = Piece("é/" * 100 + "train-000.tar", "0" * 8, ())
    assert long.file == Piece(long.name, "0" * 8, ("elsewhere",)).file
    assert long.file.isascii()
    assert "train-000-tar" in long.file
    assert len(long.file) < 100
    others = [Piece(name, "0" * 8, ()).key for name in ("a/b", "a-b", "a_b", "a b")]
    assert len(set(others)) == 4
