"""A file that changes while it is read is noticed, by its size and the time of its last change."""

from __future__ import annotations

import os

import pytest

from clip_core.hub.changes import ChangedError, WatchedFiles
from support.messages import naming


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "text").mkdir()
    for name in ("config.json", "model.bin", "other.bin", "text/config.json"):
        (tmp_path / name).write_text("old")
    return tmp_path


def longer(path):
    path.write_text("newer")


def later(path):
    os.utime(path, ns=(1, 1))


def replaced(path):
    path.with_name("new").write_text("old")
    os.utime(path.with_name("new"), ns=(1, path.stat().st_mtime_ns))
    path.with_name("new").replace(path)


def removed(path):
    path.unlink()


@pytest.mark.parametrize("change", [longer, later, replaced, removed])
@pytest.mark.parametrize("name", ["config.json", "model.bin"])
def test_what_was_read_and_the_texts_beside_it_are_as_they_were(folder, name, change):
    watched = WatchedFiles(folder)
    watched.check([folder / "model.bin"])
    change(folder / name)
    with pytest.raises(ChangedError, match=naming(folder / name)):
        watched.check([folder / "model.bin"])


def test_a_new_text_is_noticed(folder):
    watched = WatchedFiles(folder / "model.bin")
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ChangedError, match=naming(folder / "tokenizer.json")):
        watched.check([])


def test_what_was_not_read_may_change(folder):
    watched, of_part, of_hub = WatchedFiles(folder), WatchedFiles(folder, "text"), WatchedFiles("user/model")
    longer(folder / "other.bin")
    longer(folder / "text" / "config.json")
    (folder / "log.jsonl").write_text("{}")
    watched.check([folder / "model.bin", folder.parent / "elsewhere.bin"])
    of_hub.check([folder / "model.bin"])
    with pytest.raises(ChangedError, match=naming(folder / "text" / "config.json")):
        of_part.check([])
