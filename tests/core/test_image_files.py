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
