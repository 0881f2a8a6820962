from __future__ import annotations

import json
import shutil
import sys
from unittest import mock

import numpy as np
import pytest

from clip_core.tasks.search import ImageIndex, updating
from support.messages import mentions, refused_line
from support.search import OTHER, Colours, save_image, stand_in


@pytest.fixture(autouse=True)
def colours():
    with stand_in():
        yield


@pytest.fixture
def photos(tmp_path, monkeypatch):
    for name, colour in {"red": (255, 0, 0), "blue": (0, 0, 255)}.items():
        save_image(tmp_path / f"photos/{name}.png", colour)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def test_a_folder_is_indexed_and_brought_up_to_date(run, photos):
    code, out, err = run("index", "photos", "--out", "i", "--model", "colours")
    assert (code, err) == (0, "")
    assert out.split(" (")[0] == "i: 2 images"
    assert "2 added" in out
    code, out, err = run("index", "photos", "--out", "i")
    assert (code, err) == (0, "")
    assert mentions(out, "2 unchanged")
    save_image(photos / "green.png", (0, 255, 0))
    code, out, _ = run("index", "photos", "--out", "i", "--json")
    *images, summary = map(json.loads, out.splitlines())
    assert images == [{"image": str(photos / "green.png")}]
    counts = {"added": 1, "changed": 0, "removed": 0, "unchanged": 2, "broken": 0}
    assert (code, summary) == (0, {"index": "i", "images": 3, **counts})


def test_a_folder_that_was_moved_is_removed_and_nothing_is_deleted(run, photos, monkeypatch):
    save_image(photos / "old/green.png", (0, 255, 0))
    run("index", "photos", "--out", "i", "--model", "colours")
    kept = sorted(photos.rglob("*.png"))
    for paths, left in ((["photos/old"], 2), ([str(photos / "red.png"), "photos/none"], 1)):
        code, out, err = run("index", "--out", "i", "--remove", *paths, "--json")
        assert (code, err) == (0, "")
        assert json.loads(out) == {
            "index": "i",
            "images": left,
            "added": 0,
            "changed": 0,
            "removed": 1,
            "unchanged": 0,
            "broken": 0,
        }
    assert sorted(photos.rglob("*.png")) == kept
    line = refused_line(run, "index", "--out", "i", "--remove", "photos/none")
    assert mentions(line, "--remove", "photos/none")
    line = refused_line(run, "index", "--out", "other", "--remove", "photos")
    assert mentions(line, "other")
    for arguments in (["--from", "nothing"], ["nothing"]):  # nothing is removed if there is nothing in its place
        assert run("index", *arguments, "--out", "i", "--remove", "photos")[0] == 2
        with ImageIndex("i") as index:
            assert len(index) == 1
    (photos / "old").rename(photos.parent / "new")
    code, out, _ = run("index", "new", "--out", "i", "--remove", "photos", "--json")
    assert json.loads(out.splitlines()[-1])["images"] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such file names")
def test_a_name_does_not_control_the_terminal(run, photos):
    (photos / "\x1b[2J.jpg").write_bytes(b"broken")
    code, out, err = run("index", "photos", "--out", "i", "--model", "colours")
    assert code == 2
    assert "\\x1b[2J.jpg" in err
    assert "\x1b" not in out + err


def test_an_image_whose_embedding_is_not_finite_is_named_and_a_model_without_finite_ones_refused(run, photos):
    save_image(photos / "black.png", (0, 0, 0))
    encode = Colours.encode_images

    def overflow(self, pixels):
        return np.where(pixels.max(axis=(1, 2, 3))[:, None] == 0, np.float32(np.nan), encode(self, pixels))

    with mock.patch.object(Colours, "encode_images", overflow):
        code, out, err = run("index", "photos", "--out", "i", "--model", "colours")
    assert (code, err.count("\n")) == (2, 1)
    assert mentions(err, photos / "black.png")
    assert out.startswith("i: 2 images")
    with mock.patch.object(Colours, "encode_images", lambda self, pixels: encode(self, pixels) * np.nan):
        assert not mentions(refused_line(run, "index", "photos", "--out", "j", "--model", "colours"), "images[0]")
        assert "colours" not in refused_line(run, "search", "i", "red")  # it is not another model
    assert not (photos.parent / "j").exists()


def test_broken_images_are_named_and_the_rest_is_indexed(run, photos):
    (photos / "broken.jpg").write_bytes(b"broken")
    code, out, err = run("index", "photos", "--out", "i", "--json")
    assert code == 2
    assert err.count("\n") == 1
    assert str(photos / "broken.jpg") in err
    rows = [json.loads(line) for line in out.splitlines()]
    assert [set(row) for row in rows if row.get("image", "").endswith("broken.jpg")] == [{"image", "error"}]
    assert rows[-1]["added"] == 2


def test_a_new_index_without_an_image_is_not_kept(run, photos):
    for image in photos.iterdir():
        image.write_bytes(b"broken")
    code, out, err = run("index", "photos", "--out", "new/i", "--model", "colours")
    assert code == 2
    assert mentions(out, "0 images", "2 broken")
    assert err.count("\n") == 2
    assert not (photos.parent / "new").exists()
    (photos.parent / "empty").mkdir()
    assert run("index", "photos", "--out", "empty", "--model", "colours")[:2] == (2, out.replace("new/i", "empty"))
    assert list((photos.parent / "empty").iterdir()) == []


def test_an_interrupted_new_index_without_an_image_is_not_kept(run, photos):
    with mock.patch.object(updating, "encode_image_batches", side_effect=KeyboardInterrupt):
        assert run("index", "photos", "--out", "i", "--model", "colours")[0] == 130
    assert not (photos.parent / "i").exists()


def test_an_earlier_index_is_kept_when_its_last_image_breaks(run, photos):
    run("index", "photos", "--out", "i", "--model", "colours")
    for image in photos.iterdir():
        image.write_bytes(b"broken")
    code, out, _ = run("index", "photos", "--out", "i")
    assert code == 2
    assert mentions(out, "0 images", "2 removed", "2 broken")
    assert (photos.parent / "i").is_dir()


@pytest.mark.parametrize(
    "arguments",
    [
        ("index", "missing", "--out", "i"),
        ("index", "photos"),
        ("index", "photos", "--out", "photos"),
        ("index", "photos", "--out", "photos/red.png"),
        ("index", "photos", "--out", "i", "--batch-size", "0"),
        ("index", "photos", "--out", "i", "--backend", "mxnet"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(run, photos, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("clip-zoo: ")
    assert not (photos.parent / "i").exists()
    assert len(list(photos.iterdir())) == 2


def test_another_model_or_a_missing_folder_leaves_the_index_as_it_was(run, photos):
    run("index", "photos", "--out", "i", "--model", "colours")
    save_image(photos / "green.png", (0, 255, 0))
    code, _, err = run("index", "photos", "--out", "i", "--model", OTHER)
    assert code == 2
    assert OTHER in err
    assert "colours" in err
    shutil.rmtree(photos)
    assert run("index", "photos", "--out", "i")[0] == 2
    assert len(run("search", "i", "red", "--json")[1].splitlines()) == 2
