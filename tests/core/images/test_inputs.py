"""Every form of images becomes a flat list of images and arrays; anything else is named in an error."""

from __future__ import annotations

import base64
import io
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from PIL import Image

from clip_core.images.decoding import ImageFileError
from clip_core.images.inputs import fetch_images, find_images, flat_sources, load_image, opened
from clip_core.processing.frameworks import by_package
from support.messages import naming


def flat_images(images):
    """Return each image with its name, opened if it is a file or a URL, as the pipeline takes them."""
    return (opened(*source) for source in flat_sources(images))


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
    with pytest.raises(ImageFileError, match=naming("~/gone.png")):
        find_images("~/gone.png")


@pytest.mark.parametrize("pattern", ["", " "])
def test_an_empty_name_is_not_the_folder_that_one_is_in(pattern):
    with pytest.raises(ImageFileError, match=naming("empty")):
        find_images(pattern)


def test_a_name_that_the_system_refuses_is_told(pictures):
    with pytest.raises(ImageFileError, match=naming("x" * 300)):
        find_images(str(pictures / ("x" * 300)))


@pytest.mark.parametrize(
    "name",
    ["gone.png", "empty", "*.gif"],
)
def test_what_is_not_there_is_named(pictures, name):
    with pytest.raises(ImageFileError, match=naming(pictures / name)):
        find_images(str(pictures / name))


RED = (200, 30, 40)


def png(size=(5, 4), mode="RGB", color=RED) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, color).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "red.png"
    file.write_bytes(png())
    return file


@pytest.fixture(scope="module")
def address():
    """A web server with one image, at /red.png, and one page of text."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path != "/gone.png" else 404)
            self.end_headers()
            self.wfile.write(png() if self.path == "/red.png" else b"no picture")

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def names(images) -> list[str]:
    return [name for name, _ in flat_images(images)]


def test_lists_and_tuples_are_flattened_at_any_depth_and_each_image_has_its_place_as_its_name():
    picture, array = Image.new("RGB", (3, 2)), np.zeros((2, 3, 3), np.uint8)
    assert names(picture) == ["images"]
    assert names([picture, array]) == ["images[0]", "images[1]"]
    assert names(([picture], [], (array, [picture]))) == ["images[0][0]", "images[2][0]", "images[2][1][0]"]
    assert names([]) == []


def test_a_batch_in_one_array_is_split():
    assert names(np.zeros((2, 4, 5, 3))) == ["images[0]", "images[1]"]
    assert names([np.zeros((2, 4, 5, 3))]) == ["images[0][0]", "images[0][1]"]
    assert [image.shape for _, image in flat_images(np.zeros((2, 4, 5, 3)))] == [(4, 5, 3)] * 2


@pytest.mark.parametrize(
    "make",
    [np.asarray, torch.tensor, jnp.asarray, lambda array: torch.tensor(array, dtype=torch.float32).requires_grad_()],
)
def test_arrays_of_every_framework_become_numpy(make):
    array = np.arange(24).reshape(2, 4, 3)
    ((_, image),) = flat_images(make(array))
    assert type(image) is np.ndarray
    np.testing.assert_array_equal(image, array)


def test_tensorflow_arrays_become_numpy():
    tf = pytest.importorskip("tensorflow")
    ((_, image),) = flat_images(tf.reshape(tf.range(24), (2, 4, 3)))
    np.testing.assert_array_equal(image, np.arange(24).reshape(2, 4, 3))


def test_half_precision_of_either_kind_is_taken():
    for dtype in (torch.bfloat16, torch.float16):
        ((_, image),) = flat_images(torch.full((2, 4, 3), 0.5, dtype=dtype))
        assert (image.dtype.name, float(image.max())) == (str(dtype).removeprefix("torch."), 0.5)


def test_pictures_come_as_they_are():
    picture = Image.new("P", (3, 2))
    assert next(flat_images(picture))[1] is picture


def test_paths_as_text_or_not_are_opened_and_named(path):
    for given in (path, str(path)):
        ((name, image),) = flat_images([given])
        assert name == f"images[0] ({path})"
        assert (image.mode, image.size, image.getpixel((0, 0))) == ("RGB", (5, 4), RED)


def test_base64_and_data_addresses_are_decoded():
    text = base64.b64encode(png()).decode()
    for given in (text, f"data:image/png;base64,{text}", "\n".join(text[i : i + 60] for i in range(0, len(text), 60))):
        assert load_image(given).getpixel((0, 0)) == RED
    ((name, _),) = flat_images(text)
    assert len(name) < 100


def test_addresses_are_fetched(address):
    assert load_image(f"{address}/red.png").getpixel((0, 0)) == RED


@pytest.mark.parametrize(("page", "told"), [("gone.png", 404), ("text", "Pillow")])
def test_an_address_without_a_picture_is_named(address, page, told):
    with pytest.raises(ImageFileError, match=naming(f"{address}/{page}", told)):
        load_image(f"{address}/{page}")


def test_lists_of_images_are_fetched_as_lists(address):
    array = np.zeros((2, 2, 3))
    one, (two, three) = fetch_images([f"{address}/red.png", [array, f"{address}/red.png"]])
    assert one.getpixel((0, 0)) == three.getpixel((0, 0)) == fetch_images(f"{address}/red.png").getpixel((0, 0)) == RED
    assert two is array
    with pytest.raises(TypeError, match=naming("int")):
        fetch_images([1])


@pytest.mark.parametrize(("content", "named"), [(None, []), (b"text", ["Pillow"]), (png()[:-30], ["truncated"])])
def test_a_bad_file_is_named_with_its_place(path, content, named):
    path.unlink()
    if content:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=naming("images[1]", path, *named)):
        list(flat_images([Image.new("RGB", (1, 1)), str(path)]))


@pytest.mark.parametrize("text", ["x" * 5000, "not base64! " * 500, base64.b64encode(b"no picture" * 20).decode()])
def test_a_long_text_that_is_nothing_is_not_printed_whole(text):
    with pytest.raises(ImageFileError, match=naming(f"{text[:80]}...", "base64")) as caught:
        load_image(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["data:image/png;base64,!", "data:image/png;base64,QUJD", "data:image/png"])
def test_a_bad_data_address_is_an_error(text):
    with pytest.raises(ImageFileError, match=naming("base64" if ";" in text else text)):
        load_image(text)


@pytest.mark.parametrize(
    ("bad", "kind"), [(None, "NoneType"), (3, "int"), ({}, "dict"), (b"bytes", "bytes"), ([[1, 2]], "int")]
)
def test_what_is_no_image_is_named_with_its_type_and_place(bad, kind):
    with pytest.raises(TypeError, match=naming("images[1]", kind, "PIL.Image.Image", *by_package())):
        list(flat_images([Image.new("RGB", (1, 1)), bad]))


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (np.zeros(3), (3,)),
        (np.float32(1), ()),
        (np.zeros((1, 1, 1, 1, 1)), (1, 1, 1, 1, 1)),
        (np.zeros((0, 4, 3)), (0, 4, 3)),
        (np.full((2, 2, 3), "a"), "<U1"),
        (np.full((2, 2, 3), None), "object"),
        (np.zeros((2, 2, 3), complex), "complex128"),
    ],
)
def test_an_array_that_is_no_image_is_named_with_what_is_wrong(bad, named):
    with pytest.raises(ValueError, match=naming("images[0]", named)):
        list(flat_images([bad]))


def test_whatever_a_decoder_raises_is_named_with_the_image(monkeypatch):
    def fail(file, **_):
        raise RuntimeError("Failed to decode frame 0")  # as AVIF's does

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(
        ValueError, match=naming("images[0]", "data:image/avif;base64,AAAA", "Failed to decode frame 0")
    ):
        list(flat_images(["data:image/avif;base64,AAAA"]))


def test_a_long_path_is_named_whole(tmp_path):
    missing = tmp_path / f"{'long' * 40}.jpg"
    with pytest.raises(ImageFileError, match=naming(missing)):
        load_image(missing)


def test_a_folders_postscript_counts_as_no_image(tmp_path):
    (tmp_path / "cat.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    with pytest.raises(ImageFileError, match=naming(tmp_path)):
        find_images(str(tmp_path))
