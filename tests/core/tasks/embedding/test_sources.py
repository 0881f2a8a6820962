"""Images of folders and shards that cannot be read, each with its reason."""

from __future__ import annotations

import os
import sys
from unittest import mock

import pytest

from clip_core.tasks.embedding import sources
from clip_core.tasks.embedding.places import Location
from support.embedding import opened, pictures, write_images, write_shard
from support.messages import mentions, naming
from support.training_data import picture_bytes


def test_samples_of_a_shard_that_cannot_be_read_are_told(tmp_path):
    extra = [("no.txt", b"a text"), ("x/big.png", b"0" * 5000), ("y.jpg", picture_bytes(3)), ("z.odd", b"?")]
    shard = write_shard(str(tmp_path / "a.tar"), [1], [*extra, ("y/1.jpg", b""), ("y.jpg", b"again")])
    with mock.patch.object(sources, "LARGEST", 1000):
        found = pictures(opened(shard))
    names = ["001", "no", "x/big", "y", "z", "y/1", "y"]
    assert [picture.id for picture in found] == [f"a.tar/{name}" for name in names]
    assert [picture.path for picture in found] == [f"{shard}/{name}" for name in names]
    assert [name for name, picture in zip(names, found, strict=True) if picture.error is None] == ["001", "y", "y/1"]
    for picture in found:
        assert picture.error is None or mentions(picture.error, picture.path)
    assert mentions(found[2].error, "5,000")


def test_the_extension_of_images_in_shards_can_be_chosen(tmp_path):
    shard = write_shard(str(tmp_path / "a.tar"), [], [("a.gif", b"gif"), ("a.png", b"png")])
    assert [picture.content for picture in pictures(opened(shard))] == [b"png"]
    assert [picture.content for picture in pictures(opened(shard, image="gif"))] == [b"gif"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems accept only names of valid text")
def test_a_name_that_is_not_text_is_told(tmp_path):
    folder = write_images(str(tmp_path / "images"), [1])
    name = os.fsdecode(b"\xff.png")
    (tmp_path / "images" / name).write_bytes(picture_bytes(2))
    source = opened(folder)
    found = pictures(source)
    assert [picture.error is None for picture in found] == [True, False]
    with pytest.raises(ValueError, match="UTF-8"):
        source.read(found[1])


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path):
    folder = write_images(str(tmp_path / "images"), [1])
    source = opened(folder)
    (found,) = pictures(source)
    assert source.read(found)[0] == picture_bytes(1)
    with mock.patch("clip_core.tasks.embedding.pieces.LARGEST", 10), pytest.raises(ValueError, match=found.path):
        source.read(found)


def test_an_unknown_protocol_is_told_with_what_to_give():
    with pytest.raises(ValueError, match=naming("foo://x", "a path", "URL")):
        Location.open("foo://x")
