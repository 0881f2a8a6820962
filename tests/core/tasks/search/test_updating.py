"""Indexing a folder that changes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
from PIL import Image

from clip_core.images.decoding import ImageFileError
from clip_core.tasks.search import ImageIndex
from clip_core.tasks.zero_shot import ZeroShotClassifier
from support.search import COLOURS, save_image, stand_in


@pytest.fixture
def folder(tmp_path):
    for place, colour in enumerate(COLOURS):
        save_image(tmp_path / f"photos/sub/{colour}.png", tuple(255 * (place == other) for other in range(3)))
    return tmp_path / "photos"


@pytest.fixture
def index(tmp_path):
    with stand_in(), ImageIndex(tmp_path / "index", model="colours", create=True) as made:
        yield made


def counts(changes) -> tuple[int, ...]:
    return changes.added, changes.changed, changes.removed, changes.unchanged, len(changes.broken)


def best(index: ImageIndex, text: str) -> str:
    return index.search([text], top_k=1)[0].path.stem


def test_a_folder_is_indexed_once(index, folder):
    assert counts(index.add([folder])) == (3, 0, 0, 0, 0)
    assert [best(index, colour) for colour in COLOURS] == COLOURS
    read = index.model.processor.read
    assert counts(index.add([folder, folder / "sub/red.png"])) == (0, 0, 0, 3, 0)
    assert index.model.processor.read == read


def test_a_model_is_loaded_only_if_there_is_something_to_encode(index, folder, tmp_path):
    index.add([folder])
    (folder / "sub/red.png").unlink()
    with mock.patch.object(ZeroShotClassifier, "from_pretrained", side_effect=AssertionError):
        with ImageIndex(tmp_path / "index", model="colours") as again:
            assert counts(again.add([folder])) == (0, 0, 1, 2, 0)
        with ImageIndex(tmp_path / "index") as again:
            assert counts(again.add([folder])) == (0, 0, 0, 2, 0)
            save_image(folder / "new.png", (255, 0, 0))
            with pytest.raises(AssertionError):
                again.add([folder])


def test_new_changed_and_deleted_files_are_noticed(index, folder):
    index.add([folder])
    save_image(folder / "new.png", (255, 0, 0))
    save_image(folder / "sub/green.png", (0, 0, 255), size=(30, 30))
    (folder / "sub/red.png").unlink()
    assert counts(index.add([folder])) == (1, 1, 1, 1, 0)
    assert best(index, "red") == "new"
    assert best(index, "blue") in {"green", "blue"}
    assert len(index) == 3


def test_a_file_with_another_time_alone_is_not_encoded_again(index, folder):
    index.add([folder])
    read = index.model.processor.read
    os.utime(folder / "sub/red.png", ns=(5, 5))
    assert counts(index.add([folder])) == (0, 0, 0, 3, 0)
    # With the size of before, and other content.
    path = folder / "sub/blue.bmp"
    save_image(path, (0, 0, 255))
    index.add([folder])
    save_image(path, (255, 0, 0))
    os.utime(path, ns=(7, 7))
    assert counts(index.add([folder])) == (0, 1, 0, 3, 0)
    assert index.model.processor.read == read + 2


@pytest.mark.parametrize("far", [2**63 + 5, -(2**63) - 5])
def test_a_time_of_more_than_64_bits_is_stored_as_the_nearest(index, folder, far, monkeypatch):
    real = Path.stat

    def stat(path, **options):
        status = real(path, **options)
        if path.name != "red.png":
            return status
        return SimpleNamespace(st_size=status.st_size, st_mtime_ns=far, st_mode=status.st_mode)

    monkeypatch.setattr(Path, "stat", stat)
    assert counts(index.add([folder])) == (3, 0, 0, 0, 0)
    read = index.model.processor.read
    assert counts(index.add([folder])) == (0, 0, 0, 3, 0)
    assert index.model.processor.read == read
    assert index.search(["red"], top_k=1)[0].taken == ("2262-04-11T23:47:16" if far > 0 else "1677-09-21T00:12:43")


def test_files_outside_the_given_folders_stay(index, folder, tmp_path):
    other = save_image(tmp_path / "photos2/x.png", (9, 9, 9))
    index.add([folder, other.parent])
    other.unlink()
    assert counts(index.add([folder])) == (0, 0, 0, 3, 0)
    assert len(index) == 4


def test_a_missing_or_empty_folder_loses_nothing(index, folder, tmp_path):
    index.add([folder])
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(ImageFileError):
        index.add([folder])
    folder.mkdir()
    with pytest.raises(ImageFileError):
        index.add([folder])
    assert len(index) == 3


def test_broken_images_are_listed_and_skipped(index, folder):
    (folder / "broken.jpg").write_bytes(b"not an image")
    told = []
    changes = index.add([folder], on_error=lambda path, error: told.append((path, str(error))))
    assert counts(changes) == (3, 0, 0, 0, 1)
    ((path, message),) = told
    assert path == folder / "broken.jpg"
    assert message.startswith(str(path))
    assert changes.broken == {path: message}
    (folder / "sub/red.png").write_bytes(b"broken since")
    assert counts(index.add([folder])) == (0, 0, 1, 2, 2)
    save_image(folder / "broken.jpg", (255, 0, 0))
    assert index.add([folder]).added == 1


def test_what_the_file_says_of_itself_is_stored(index, folder):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2019:05:04 03:02:01"
    exif[0x0112] = 6  # lying on its side
    Image.new("RGB", (20, 10), (255, 0, 0)).save(folder / "dated.jpg", exif=exif)
    (folder / "dated.txt").write_text("a  red\nfield", encoding="utf-8")
    index.add([folder], captions=True)
    (hit,) = index.search(["red"], where=["date=2019-05"])
    assert hit.path == folder / "dated.jpg"
    assert (hit.taken, hit.width, hit.height, hit.caption) == ("2019-05-04T03:02:01", 10, 20, "a red field")
    assert hit.size == hit.path.stat().st_size
    (folder / "dated.txt").write_text("another", encoding="utf-8")
    assert counts(index.add([folder], captions=True)) == (0, 0, 0, 4, 0)
    assert index.search(["red"], where=["date=2019"])[0].caption == "another"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems accept only names of valid text")
def test_any_file_name_is_indexed(index, folder):
    name = os.fsdecode(b"\xff%'_\n.png")
    save_image(folder / name, (255, 255, 255))
    assert counts(index.add([folder])) == (4, 0, 0, 0, 0)
    assert index.search(["red green blue"])[0].path == folder / name
    assert counts(index.add([folder])) == (0, 0, 0, 4, 0)


def test_every_commit_is_told(index, folder):
    stored, announced = [], []
    index.add([folder], on_start=announced.append, on_commit=stored.extend, batch_size=1)
    assert announced == [3]
    assert sorted(stored) == sorted((folder / "sub").iterdir())
