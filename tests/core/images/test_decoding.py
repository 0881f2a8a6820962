"""Image files of every kind are decoded as upright RGB, and bad ones are named in one line."""

from __future__ import annotations

import base64
import os
import pickle
import warnings

import numpy as np
import pytest
from PIL import Image

from clip_core.images.decoding import ImageFileError, decode_image, open_image
from clip_core.images.inputs import load_image
from support.messages import naming
from support.tolerances import CONVERTED_COLOR, LOSSY_COLOR

RED = (200, 30, 40)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 5\n"


@pytest.fixture
def pictures(tmp_path):
    for name in ("a.jpg", "b.png"):
        Image.new("RGB", (3, 2)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    for source in (tmp_path / "a.png", str(tmp_path / "a.png")):
        with pytest.raises(ImageFileError, match=naming("a.png")):
            load_image(source)


def test_an_opened_picture_is_decoded(pictures):
    assert open_image(pictures / "b.png").getpixel((2, 1)) == (0, 0, 0)


def test_broken_pictures_are_named_in_one_line(pictures):
    whole = (pictures / "a.jpg").read_bytes()
    cut, text = pictures / "cut.jpg", pictures / "notes.txt"
    cut.write_bytes(whole[: len(whole) // 2])
    for path in (cut, text, pictures / "gone.png", pictures / "empty"):
        with pytest.raises(ImageFileError) as caught:
            open_image(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "told"),
    [(RuntimeError("Failed to decode\n frame 0"), "Failed to decode frame 0"), (EOFError(), "EOFError")],
)
def test_whatever_a_decoder_raises_is_named_in_one_line(pictures, monkeypatch, error, told):
    def fail(path, **_):
        raise error

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(ImageFileError, match=naming(pictures / "b.png", told)) as caught:
        open_image(pictures / "b.png")
    assert "\n" not in str(caught.value)


def test_a_file_is_opened_upright_and_in_rgb(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.new("L", (8, 3), 77).save(tmp_path / "turned.jpg", exif=exif)
    picture = load_image(tmp_path / "turned.jpg")
    assert (picture.mode, picture.size) == ("RGB", (3, 8))


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tiff", "bmp"])
def test_an_opened_picture_needs_its_file_no_more(tmp_path, ending):
    Image.new("RGB", (6, 5), RED).save(tmp_path / f"x.{ending}", quality=100)
    picture = load_image(tmp_path / f"x.{ending}")
    (tmp_path / f"x.{ending}").unlink()
    for other in (picture, picture.copy(), pickle.loads(pickle.dumps(picture)), picture.resize((6, 5))):  # noqa: S301
        other.load()
        assert np.array_equal(np.asarray(other), np.asarray(picture))
    assert (picture.mode, picture.size) == ("RGB", (6, 5))
    assert np.abs(np.asarray(picture)[0, 0].astype(int) - RED).max() <= LOSSY_COLOR


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    frames = [Image.new("RGB", (6, 5), color) for color in (RED, "blue", "white")]
    for ending, options in (("gif", {}), ("webp", {"lossless": True}), ("png", {}), ("tiff", {})):
        frames[0].save(tmp_path / f"x.{ending}", save_all=True, append_images=frames[1:], **options)
        picture = load_image(tmp_path / f"x.{ending}")
        assert (picture.mode, picture.size, picture.getpixel((0, 0))) == ("RGB", (6, 5), RED), ending


MODES = {  # a color in the mode of a file, and in RGB
    "1": (255, "png", (255, 255, 255)),
    "LA": ((77, 0), "png", (77, 77, 77)),
    "RGBA": ((*RED, 0), "png", RED),
    "CMYK": ((55, 225, 215, 0), "tiff", RED),
    "YCbCr": ((82, 104, 212), "tiff", RED),
    "LAB": ((112, 192, 170), "tiff", RED),
}


@pytest.mark.parametrize("mode", MODES)
def test_a_file_of_every_mode_has_its_colors_in_rgb(tmp_path, mode):
    color, ending, expected = MODES[mode]
    Image.new(mode, (6, 5), color).save(tmp_path / f"x.{ending}")
    found = load_image(tmp_path / f"x.{ending}").getpixel((3, 2))
    assert np.abs(np.subtract(found, expected)).max() <= CONVERTED_COLOR * (mode in {"YCbCr", "LAB"}), found


@pytest.mark.parametrize("transparency", [0, bytes([0, 255]), bytes([7, 100])])
def test_transparency_of_a_palette_is_dropped(tmp_path, transparency):
    picture = Image.new("P", (6, 5), 0)
    picture.putpalette([*RED, 0, 0, 255])
    picture.save(tmp_path / "x.png", transparency=transparency)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_image(tmp_path / "x.png").getpixel((0, 0)) == RED


def test_a_huge_picture_is_refused_by_its_size(tmp_path, monkeypatch):
    Image.new("1", (100, 100)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageFileError, match=naming(tmp_path / "x.png", 10000, "MAX_IMAGE_PIXELS")) as caught:
        load_image(tmp_path / "x.png")
    assert "damaged" not in str(caught.value)


def test_a_git_lfs_pointer_is_named_as_one(tmp_path):
    (tmp_path / "x.png").write_bytes(POINTER)
    for source in (tmp_path / "x.png", f"data:image/png;base64,{base64.b64encode(POINTER).decode()}"):
        with pytest.raises(ImageFileError, match=naming("Git LFS pointer", "git lfs pull")):
            load_image(source)
    with pytest.raises(ImageFileError, match=naming("b", "Git LFS pointer", "git lfs pull")):
        decode_image(POINTER, "b")


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(started) (w) file closefile\nshowpage\n"


@pytest.mark.parametrize("name", ["cat.png", "cat.eps", "cat.jpg"])
def test_postscript_is_never_given_to_ghostscript(tmp_path, monkeypatch, name):
    from PIL import EpsImagePlugin

    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *given, **_: started.append(given))
    (tmp_path / name).write_bytes(POSTSCRIPT)
    for read in (lambda: load_image(tmp_path / name), lambda: decode_image(POSTSCRIPT, name)):
        with pytest.raises(ImageFileError, match=naming(name)):
            read()
    assert started == []
