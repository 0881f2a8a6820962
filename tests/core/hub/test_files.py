"""An interrupted save leaves the old files intact."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from clip_core.configuration import CLIPConfig
from clip_core.hub import find_file, list_files
from clip_core.hub.files import new_folder, read_json, staged, write_text, write_texts
from clip_core.hub.targets import given_path
from clip_core.images.processor import CLIPImageProcessor
from support.messages import naming

SLOW_SAVE = """
import signal, sys, time
from clip_core.hub.files import staged
signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background hands on that it is ignored
with staged(sys.argv[1]) as staging:
    (staging / "model.safetensors").write_text("half of the new")
    print("writing", flush=True)
    time.sleep(60)
"""


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_text("old")
    (folder / "notes.txt").write_text("mine")
    return folder


class TestNewFolder:
    def test_it_is_there_when_all_is_written_and_not_before(self, tmp_path):
        with new_folder(tmp_path / "in" / "model") as staging:
            (staging / "part").mkdir()
            (staging / "part" / "weights").write_text("new")
            assert not (tmp_path / "in" / "model").exists()
        assert contents(tmp_path) == {"in/model/part/weights": "new"}

    def test_what_fails_leaves_nothing(self, tmp_path):
        def interrupted():
            with new_folder(tmp_path / "model") as staging:
                (staging / "weights").write_text("half")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert not list(tmp_path.iterdir())

    def test_it_has_the_usual_permissions(self, tmp_path):
        with new_folder(tmp_path / "model"):
            pass
        (tmp_path / "usual").mkdir()
        assert (tmp_path / "model").stat().st_mode == (tmp_path / "usual").stat().st_mode

    def test_one_that_another_process_makes_first_is_left_alone(self, tmp_path):
        def late():
            with new_folder(tmp_path / "model") as staging:
                (staging / "weights").write_text("mine")
                (tmp_path / "model").mkdir()
                (tmp_path / "model" / "weights").write_text("theirs")

        with pytest.raises(FileExistsError, match=naming(tmp_path / "model", "another process")):
            late()
        assert contents(tmp_path) == {"model/weights": "theirs"}

    def test_one_that_is_there_is_left_alone(self, folder):
        before = contents(folder)
        with pytest.raises(FileExistsError, match=naming(folder)), new_folder(folder):
            pass
        assert contents(folder) == before


class TestStaged:
    def test_new_files_replace_old_ones_and_leave_others(self, folder):
        with staged(folder) as staging:
            (staging / "model.safetensors").write_text("new")
            (staging / "config.json").write_text("{}")
            assert contents(folder)["model.safetensors"] == "old"
        assert contents(folder) == {"model.safetensors": "new", "config.json": "{}", "notes.txt": "mine"}

    def test_folder_is_made(self, tmp_path):
        with staged(tmp_path / "a" / "b") as staging:
            (staging / "c").mkdir()
            (staging / "c" / "d.txt").write_text("x")
        assert contents(tmp_path) == {"a/b/c/d.txt": "x"}

    @pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, OSError])
    def test_interruption_leaves_the_old_files_whole(self, folder, interruption):
        def save():
            with staged(folder) as staging:
                (staging / "model.safetensors").write_text("half of the n")
                raise interruption("now")

        before = contents(folder)
        with pytest.raises(interruption, match="now"):
            save()
        assert contents(folder) == before
        assert not list(folder.glob(".saving-*"))

    @pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
    def test_a_process_that_is_stopped_leaves_the_old_files_whole(self, folder, how):
        save = subprocess.Popen(
            [sys.executable, "-c", SLOW_SAVE, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert save.stdout.readline() == "writing\n"
        save.send_signal(getattr(signal, how))
        assert save.wait(timeout=30) != 0
        save.stdout.close()
        left_behind = {name for name in contents(folder) if name.startswith(".saving-")}
        assert bool(left_behind) == (how == "SIGKILL")
        assert {k: v for k, v in contents(folder).items() if k not in left_behind} == {
            "model.safetensors": "old",
            "notes.txt": "mine",
        }
        with staged(folder) as staging:
            (staging / "model.safetensors").write_text("new")
        assert (folder / "model.safetensors").read_text() == "new"

    def test_a_failed_flush_replaces_nothing(self, folder, monkeypatch):
        def full_disk(_):
            raise OSError("No space left on device")

        monkeypatch.setattr("os.fsync", full_disk)
        with pytest.raises(OSError, match="No space left"), staged(folder) as staging:
            (staging / "model.safetensors").write_text("new")
        assert contents(folder)["model.safetensors"] == "old"

    def test_json_moves_last(self, folder, monkeypatch):
        moved = []
        path_type = type(folder)
        replace = path_type.replace

        def recording(path, target):
            moved.append(path.name)
            return replace(path, target)

        monkeypatch.setattr(path_type, "replace", recording)
        with staged(folder) as staging:
            for name in ("model.safetensors.index.json", "config.json", "b.safetensors", "a.safetensors"):
                (staging / name).touch()
                time.sleep(0.001)
        assert moved == ["a.safetensors", "b.safetensors", "config.json", "model.safetensors.index.json"]

    def test_shards_of_an_earlier_save_are_removed(self, folder):
        for number in (1, 2, 3):
            (folder / f"model-{number}.safetensors").write_text("old")
        with staged(folder, replaces=re.compile(r"model(-\d)?\.safetensors")) as staging:
            (staging / "model-1.safetensors").write_text("new")
        assert contents(folder) == {"model-1.safetensors": "new", "notes.txt": "mine"}

    def test_a_link_to_nothing_is_told(self, tmp_path):
        link = tmp_path / "link"
        link.symlink_to("gone")
        for path in (link, link / "model"):
            for write in (staged, new_folder):
                with pytest.raises(FileNotFoundError, match=naming(link, "gone")), write(path):
                    pass
        assert [path.name for path in tmp_path.iterdir()] == ["link"]

    def test_a_link_to_a_folder_stays(self, tmp_path, folder):
        (tmp_path / "link").symlink_to(folder)
        with staged(tmp_path / "link") as staging:
            (staging / "model.safetensors").write_text("new")
        assert (tmp_path / "link").is_symlink()
        assert contents(folder) == {"model.safetensors": "new", "notes.txt": "mine"}

    @pytest.mark.parametrize(
        "message", ["", "Can't write data (errno = 28, error message = 'No space left on device')"]
    )
    def test_a_full_disk_is_told_with_the_folder(self, folder, message):
        def save():
            with staged(folder) as staging:
                (staging / "model.safetensors").write_text("half")
                raise OSError(message) if message else OSError(errno.ENOSPC, "No space left on device")

        with pytest.raises(OSError, match=naming(os.strerror(errno.ENOSPC), folder)) as told:
            save()
        assert told.value.errno == errno.ENOSPC
        assert contents(folder) == {"model.safetensors": "old", "notes.txt": "mine"}

    def test_a_file_in_the_way(self, folder):
        with (
            pytest.raises(NotADirectoryError, match=naming(folder / "notes.txt")),
            staged(folder / "notes.txt"),
        ):
            pass


class TestWriteText:
    def test_text_is_written_in_utf8_without_leftovers(self, tmp_path):
        write_text(tmp_path / "a" / "ä.txt", "naïve\n")
        assert (tmp_path / "a" / "ä.txt").read_bytes() == "naïve\n".encode()
        assert len(list((tmp_path / "a").iterdir())) == 1

    def test_text_that_cannot_be_encoded_leaves_the_old_file(self, folder):
        with pytest.raises(UnicodeEncodeError):
            write_text(folder / "notes.txt", "\ud800")
        assert contents(folder)["notes.txt"] == "mine"

    def test_a_bare_name_is_written_here(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        write_text("here.txt", "x")
        assert contents(tmp_path) == {"here.txt": "x"}


class TestReadJson:
    def test_content(self, tmp_path):
        (tmp_path / "a.json").write_text('{"ä": [1, null]}', encoding="utf-8")
        assert read_json(tmp_path / "a.json") == {"ä": [1, None]}

    @pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"a": }', b"\xef\xbb\xbf{}", b"[" * 100_000])
    def test_what_is_no_json_names_the_file(self, tmp_path, content):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(ValueError, match=naming(tmp_path / "a.json", "JSON")):
            read_json(tmp_path / "a.json")

    def test_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            read_json(tmp_path / "a.json")


def test_an_empty_path_is_not_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    saves = CLIPConfig().save_pretrained, CLIPImageProcessor().save_pretrained
    for act in (given_path, list_files, lambda path: find_file(path, "config.json"), *saves):
        with pytest.raises(ValueError, match=naming("empty", "'.'")):
            act("")
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    assert find_file(".", "config.json") is not None


def test_several_texts_replace_only_the_files_that_are_named(tmp_path):
    for name in ("old.json", "a-old.json", "mine.txt"):
        (tmp_path / name).write_text("old")
    texts = {"new.json": "{}", "more/é.txt": "é\n"}
    paths = write_texts(tmp_path, texts, replaces=["old.json"], prefix="a-")
    assert paths == (str(tmp_path / "a-new.json"), str(tmp_path / "a-more/é.txt"))
    assert (tmp_path / "a-more/é.txt").read_bytes() == "é\n".encode()
    assert {path.name for path in tmp_path.iterdir()} == {"old.json", "mine.txt", "a-new.json", "a-more"}
    write_texts(tmp_path, {"a.txt": ""})
    assert (tmp_path / "old.json").exists()
