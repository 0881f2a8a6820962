"""Several files of a folder are replaced in one step, which the next reader finishes after a kill."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import time

import pytest

from clip_core.hub import find_file, list_files
from clip_core.hub.files import pattern_of, staged
from clip_core.hub.switching import locked, settle
from support.messages import naming

WEIGHTS = re.compile(r"model.*")


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def save(folder, **texts):
    with staged(folder, replaces=WEIGHTS) as staging:
        for name, text in texts.items():
            (staging / name.replace("_", ".")).write_text(text)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    save(folder, config_json="old", model_bin="old", model_old="old")
    return folder


def interrupted(folder, removed=("model.old",)):
    """Leave a switch that was killed when the first file had moved."""
    waiting = folder / ".saving-switch"
    waiting.mkdir()
    (waiting / ".removed.json").write_text(json.dumps(removed))
    (waiting / "config.json").write_text("new")
    (folder / "model.bin").write_text("new")


@pytest.mark.parametrize(
    "read",
    [
        lambda folder: find_file(folder, "config.json"),
        lambda folder: find_file(folder / "config.json", "config.json"),
        lambda folder: find_file(folder.parent, "config.json", subfolder="model"),
        list_files,
        settle,
        lambda folder: save(folder, other_json="x", model_bin="new"),
    ],
)
def test_the_next_reader_or_writer_finishes(folder, read):
    interrupted(folder)
    read(folder)
    found = contents(folder)
    found.pop("other.json", None)
    assert found == {"config.json": "new", "model.bin": "new"}
    assert not list(folder.glob(".saving-*"))


def test_a_reader_that_may_not_write_is_told(folder, monkeypatch):
    def read_only(*_):
        raise PermissionError(13, "Permission denied")

    interrupted(folder)
    monkeypatch.setattr("clip_core.hub.switching._finish", read_only)
    with pytest.raises(OSError, match=naming(folder, "interrupted", "Permission denied")):
        find_file(folder, "config.json")


@pytest.mark.parametrize("name", ["../notes.txt", "link/notes.txt", "{outside}"])
def test_a_strangers_switch_does_not_leave_its_folder(tmp_path, folder, name):
    outside = tmp_path / "notes.txt"
    outside.write_text("mine")
    (folder / "link").symlink_to(tmp_path)
    interrupted(folder, [name.format(outside=outside)])
    with pytest.raises(OSError, match=naming(repr(name.format(outside=outside)))):
        find_file(folder, "config.json")
    assert outside.read_text() == "mine"


def test_a_strangers_switch_does_not_write_through_a_link(tmp_path, folder):
    interrupted(folder)
    (tmp_path / "outside").mkdir()
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / ".saving-switch" / "link").mkdir()
    (folder / ".saving-switch" / "link" / "x.txt").write_text("x")
    with pytest.raises(OSError, match=naming("'link/x.txt'")):
        find_file(folder, "config.json")
    assert not list((tmp_path / "outside").iterdir())


def test_a_switch_that_is_a_link_is_ignored(tmp_path, folder):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / ".removed.json").write_text("[]")
    (tmp_path / "secret" / "key").write_text("mine")
    (folder / ".saving-switch").symlink_to(tmp_path / "secret")
    assert find_file(folder, "config.json") is not None
    assert contents(tmp_path / "secret") == {".removed.json": "[]", "key": "mine"}


@pytest.mark.parametrize("removed", ["{", "5", "[5]", "[null]"])
def test_a_damaged_switch_is_told(folder, removed):
    interrupted(folder)
    (folder / ".saving-switch" / ".removed.json").write_text(removed)
    with pytest.raises(ValueError, match=naming(".saving-switch", "damaged")):
        settle(folder)


def test_a_folder_in_the_way_of_a_file_is_told_before_anything_changes(folder):
    (folder / "new.txt").mkdir()
    before = contents(folder)
    with pytest.raises(IsADirectoryError, match=naming(folder / "new.txt")):
        save(folder, config_json="new", new_txt="new", model_bin="new")
    assert contents(folder) == before


def test_an_equal_text_is_left_alone(folder):
    before = (folder / "config.json").stat().st_ino
    save(folder, config_json="old", model_bin="new")
    assert (folder / "config.json").stat().st_ino == before
    assert contents(folder) == {"config.json": "old", "model.bin": "new"}


def test_files_of_a_subfolder_are_replaced_if_the_pattern_names_it(folder):
    for name in ("templates/old.jinja", "templates/kept.md", "others/old.jinja"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("old")
    with staged(folder, replaces=re.compile(r"templates/(.*\.jinja)?|model.*")) as staging:
        (staging / "config.json").write_text("new")
    expected = {"config.json": "new", "templates/kept.md": "old", "others/old.jinja": "old"}
    assert contents(folder) == expected
    with staged(folder, replaces=pattern_of(["templates/", "config.json"])) as staging:
        (staging / "others").mkdir()
        (staging / "others" / "new.jinja").write_text("new")
    assert contents(folder) == {"others/old.jinja": "old", "others/new.jinja": "new"}
    assert not (folder / "templates").exists()


def test_what_a_killed_save_left_is_deleted_by_the_next_and_what_a_living_one_writes_is_not(folder):
    (folder / ".saving-dead").mkdir()
    (folder / ".saving-dead" / "model.bin").write_text("half")
    with staged(folder) as first:
        (first / "config.json").write_text("first")
        save(folder, model_bin="second")
        assert first.exists()
    assert contents(folder) == {"config.json": "first", "model.bin": "second"}


def _save_often(folder, text, count):
    for _ in range(count):
        save(folder, **dict.fromkeys(("config_json", f"model_{text}", "model_bin"), text))


def test_of_two_processes_that_save_into_one_folder_one_wins_entirely(folder):
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_save_often, args=(folder, text, 30)) for text in ("one", "two")]
    for process in others:
        process.start()
    for process in others:
        process.join(60)
    assert [process.exitcode for process in others] == [0, 0]
    found = contents(folder)
    (text,) = set(found.values())
    assert found.keys() == {"config.json", f"model.{text}", "model.bin"}


@pytest.mark.skipif(os.name == "nt", reason="there are no locks of folders on Windows")
def test_a_lock_that_another_holds_is_told(folder):
    start = time.monotonic()
    with locked(folder), pytest.raises(BlockingIOError, match=naming("another process", folder)), locked(folder, 0.1):
        pass
    assert time.monotonic() - start < 5
    with locked(folder):
        pass
