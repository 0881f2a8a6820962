"""Pictures are found in files, folders and globs, and a broken one is named in one line."""

from __future__ import annotations

import pytest
from PIL import Image

from clip_core.image_files import ImageFileError, find_images, open_image


@pytest.fixture
def pictures(tmp_path):
    for name in ("b.png", "a.JPG", "inner/deep/c.webp"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 2)).save(path)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_a_folder_is_walked_to_any_depth_and_sorted(pictures):
    assert [path.name for path in find_images(str(pictures))] == ["a.JPG", "b.png", "c.webp"]


def test_a_glob_may_name_files_and_folders(pictures):
    assert [path.name for path in find_images(f"{pictures}/*.png")] == ["b.png"]
    assert [path.name for path in find_images(f"{pictures}/**/c.*")] == ["c.webp"]
    assert [path.name for path in find_images(f"{pictures}/inn*")] == ["c.webp"]


def test_a_file_is_taken_whatever_its_ending(pictures):
    assert [path.name for path in find_images(str(pictures / "notes.txt"))] == ["notes.txt"]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(pictures):
    Image.new("RGB", (3, 2)).save(pictures / "x[1].png")
    assert [path.name for path in find_images(str(pictures / "x[1].png"))] == ["x[1].png"]


def test_files_that_pillow_knows_by_name_alone_are_no_pictures_of_a_folder(pictures):
    for name in ("model.h5", "paper.pdf", "film.mpg"):
        (pictures / name).write_bytes(b"not for Pillow")
    assert [path.name for path in find_images(str(pictures))] == ["a.JPG", "b.png", "c.webp"]
    assert [path.name for path in find_images(f"{pictures}/*")] == ["a.JPG", "b.png", "c.webp"]


def test_a_picture_that_links_lead_to_by_several_ways_counts_once(pictures):
    (pictures / "inner" / "back").symlink_to(pictures)
    (pictures / "linked.png").symlink_to(pictures / "b.png")
    found = find_images(f"{pictures}/**/*")
    assert [path.relative_to(pictures).as_posix() for path in found] == [
        "a.JPG",
        "b.png",
        "inner/deep/c.webp",
        "linked.png",
    ]


def test_the_home_folder_may_be_short(pictures, monkeypatch):
    monkeypatch.setenv("HOME", str(pictures))
    monkeypatch.setenv("USERPROFILE", str(pictures))
    assert find_images("~/b.png") == [pictures / "b.png"]
    assert find_images("~/*.png") == [pictures / "b.png"]
    with pytest.raises(ImageFileError, match=r"~/gone\.png: no such file or folder"):
        find_images("~/gone.png")


@pytest.mark.parametrize("pattern", ["", " "])
def test_an_empty_name_is_not_the_folder_that_one_is_in(pattern):
    with pytest.raises(ImageFileError, match="name is empty"):
        find_images(pattern)


def test_a_name_that_the_system_refuses_is_told(pictures):
    with pytest.raises(ImageFileError, match="xxx: .*too long"):
        find_images(str(pictures / ("x" * 300)))


@pytest.mark.parametrize(
    ("name", "message"),
    [("gone.png", "no such file or folder"), ("empty", "holds no pictures"), ("*.gif", "no picture matches")],
)
def test_what_is_not_there_is_named(pictures, name, message):
    with pytest.raises(ImageFileError, match=message) as caught:
        find_images(str(pictures / name))
    assert name in str(caught.value)


def test_an_opened_picture_is_decoded(pictures):
    assert open_image(pictures / "b.png").getpixel((2, 1)) == (0, 0, 0)


def test_broken_pictures_are_named_in_one_line(pictures):
    whole = (pictures / "a.JPG").read_bytes()
    cut, text = pictures / "cut.jpg", pictures / "notes.txt"
    cut.write_bytes(whole[: len(whole) // 2])
    for path in (cut, text, pictures / "gone.png", pictures / "empty"):
        with pytest.raises(ImageFileError) as caught:
            open_image(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [RuntimeError("Failed to decode\n frame 0"), EOFError()])
def test_whatever_a_decoder_raises_is_named_in_one_line(pictures, monkeypatch, error):
    def fail(path):
        raise error

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(ImageFileError, match=r"b\.png: broken picture \((Failed to decode frame 0|EOFError)\)$"):
        open_image(pictures / "b.png")
