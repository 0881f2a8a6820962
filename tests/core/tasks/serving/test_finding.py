"""Searches over HTTP: hits as the index gives them, thumbnails by id alone, and the limits of every route."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from clip_core.backends import load_backend
from clip_core.processing import CLIPProcessor
from clip_core.tasks.search import ImageIndex
from clip_core.tasks.serving import create_app, finding
from clip_core.tasks.zero_shot import ZeroShotClassifier
from support.served import Colours, served
from support.tolerances import ROUNDING

SHAPES = Path(__file__).parents[4] / "examples" / "shapes"
SETTINGS = {"model_name": "shapes", "max_inputs": 20, "max_body": 50_000, "max_pixels": 100_000}


def uri(path):
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for path in (SHAPES / "pictures").glob("*.png"):
        shutil.copy(path, folder)
    shutil.copy(folder / "a-green-cross.png", folder / "copy.png")
    Image.new("RGB", (400, 300), (255, 255, 0)).save(folder / "large.png")
    (folder / "a-yellow-star.txt").write_text("a star", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def index(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    with ImageIndex(folder, model=SHAPES / "checkpoint", backend="torch", create=True) as index:
        index.add([photos], captions=True)
        yield index


@pytest.fixture(scope="module")
def client(index):
    with served(None, index=index, **SETTINGS) as client:
        yield client


@pytest.mark.parametrize(
    "query",
    [
        {"texts": ["two pink triangles"]},
        {"texts": ["a red heart", "a blue heart"], "without": ["a circle"], "top_k": 3},
        {"texts": "a star", "where": "size<5kB", "probabilities": True},
        {"texts": ["a star"], "where": ["size<5kB", "date>=2020"], "exact": True, "top_k": 20},
        {"images": ["a-green-cross.png"], "texts": ["red"]},
    ],
)
def test_hits_are_those_of_the_index(client, index, photos, query):
    images = [photos / name for name in query.get("images", [])]
    body = query | ({"images": [uri(path) for path in images]} if images else {})
    status, answer = client.post("/search", {**body, "model": "shapes"})
    assert status == 200, answer
    options = {name: [value] if isinstance(value, str) else value for name, value in query.items()}
    expected = index.search(options.pop("texts"), **options | {"images": images})
    assert [hit["name"] for hit in answer["data"]] == [hit.path.name for hit in expected]
    assert [hit["index"] for hit in answer["data"]] == [*range(len(expected))]
    assert [hit["score"] for hit in answer["data"]] == pytest.approx([hit.score for hit in expected], abs=ROUNDING)
    for found, hit in zip(answer["data"], expected, strict=True):
        assert found["id"] == hit.sha256 == hashlib.sha256(hit.path.read_bytes()).hexdigest()
        assert (found["size"], found["date"], found["width"], found["height"]) == hit[3:7]
        assert found.get("caption") == hit.caption
        assert found.get("probability") == (hit.probability and pytest.approx(hit.probability, abs=ROUNDING))
        assert found["thumbnail"] == f"/thumbnails/{hit.sha256}"
        assert "path" not in found


def test_paths_are_given_only_if_the_settings_say_so(index, photos):
    with served(None, index=index, show_paths=True) as client:
        (hit,) = client.post("/search", {"texts": ["a star"], "top_k": 1})[1]["data"]
        assert hit["path"] == str(photos / "a-yellow-star.png")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "texts"),
        ({"texts": [], "images": None}, "texts"),
        ({"texts": [" "]}, "texts[0]"),
        ({"texts": 5}, "texts"),
        ({"images": ["a"]}, "images[0]"),
        ({"images": ["/etc/passwd"]}, "images[0]"),
        ({"texts": ["a"], "without": ["a"]}, "without"),
        ({"texts": ["a"], "without": ["b", ""]}, "without[1]"),
        ({"texts": ["a"], "where": ["size>1", "owner=me"]}, "where[1]"),
        ({"texts": ["a"], "where": 3}, "where"),
        ({"texts": ["a"], "top_k": 0}, "top_k"),
        ({"texts": ["a"], "top_k": 21}, "top_k"),
        ({"texts": ["a"] * 21}, "texts"),
        ({"texts": ["a"] * 11, "without": ["b"] * 10}, "texts"),
        ({"texts": ["a"], "exact": "yes"}, "exact"),
        ({"texts": ["a"], "probabilities": 1}, "probabilities"),
        ({"texts": ["a"], "paths": True}, "paths"),
        ({"texts": ["star " * 100]}, "texts[0]"),
    ],
)
def test_a_bad_search_is_refused_with_its_field(client, body, param):
    status, found, _ = client.refusal("/search", body)
    assert (status, found) == (400, param)


def test_a_search_for_fewer_hits_than_usual_is_the_default_where_no_more_are_allowed(index):
    with served(None, index=index, max_inputs=4) as client:
        assert len(client.post("/search", {"texts": ["a star"], "top_k": None})[1]["data"]) == 4
        assert b'<body data-hits="4">' in client.send("GET", "/")[2]
    with served(None, index=index) as client:
        assert len(client.post("/search", {"texts": ["a star"]})[1]["data"]) == 10
        assert b'<body data-hits="24">' in client.send("GET", "/")[2]


def test_a_large_body_and_an_image_of_many_pixels_are_refused(client, photos):
    assert client.refusal("/search", {"texts": ["a" * 50_001]})[0] == 413
    file = BytesIO()
    Image.new("RGB", (400, 251)).save(file, "PNG")
    image = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    assert client.refusal("/search", {"images": [image]}) == (400, "images[0]", "unreadable_image")


def thumbnail(client, name, **headers):
    return client.send("GET", f"/thumbnails/{name}", headers=headers)


def hash_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_thumbnail_is_a_small_jpeg_that_may_be_kept(client, photos):
    for name in ("a-green-cross.png", "copy.png"):
        status, headers, content = thumbnail(client, hash_of(photos / name))
        assert (status, headers["Content-Type"], headers["X-Content-Type-Options"]) == (200, "image/jpeg", "nosniff")
        assert "immutable" in headers["Cache-Control"]
        with Image.open(BytesIO(content)) as image:
            assert image.format == "JPEG"
            assert max(image.size) <= 320
    again = thumbnail(client, hash_of(photos / "copy.png"), **{"If-None-Match": headers["ETag"]})
    assert (again[0], again[2]) == (304, b"")


def test_a_thumbnail_has_an_id_and_no_path(client, photos):
    outside = hash_of(SHAPES / "labels.txt")
    inside = hash_of(photos / "copy.png")
    for name in (outside, inside.upper(), inside[:-1], inside + "0", "copy.png", "..%2Fcopy.png", "%00" * 64, "x" * 64):
        status, _, content = thumbnail(client, name)
        assert status == 404
        assert b"JFIF" not in content


def test_a_file_that_changed_or_is_too_large_has_no_thumbnail(client, index, photos):
    path = photos / "two-pink-triangles.png"
    before, old = path.read_bytes(), hash_of(path)
    path.write_bytes(b"a secret that took its place")
    try:
        assert thumbnail(client, old)[0] == 404
        path.unlink()
        assert thumbnail(client, old)[0] == 404
        os.mkfifo(path)
        assert thumbnail(client, old)[0] == 404
        path.unlink()
    finally:
        path.write_bytes(before)
    assert thumbnail(client, old)[0] == 200
    assert thumbnail(client, hash_of(photos / "large.png"))[0] == 422  # more than the 100,000 pixels of the settings


def test_thumbnails_take_a_bounded_amount_of_memory(index, photos, monkeypatch):
    monkeypatch.setattr(finding, "_THUMBNAILS", 5_000)
    with served(None, index=index) as client:
        sizes = [len(thumbnail(client, hash_of(path))[2]) for path in sorted(photos.glob("t*.png"))]
        assert sum(sizes) > 5_000
        assert thumbnail(client, hash_of(photos / "two-pink-triangles.png"))[0] == 200


def test_new_images_are_found_without_a_restart(client, photos, index):
    path = photos / "later.png"
    shutil.copy(SHAPES / "pictures" / "a-yellow-star.png", path)
    with ImageIndex(index._store.folder, backend="torch") as other:  # as another process
        other.add([path])
    try:
        assert "later.png" in {hit["name"] for hit in client.post("/search", {"texts": ["a star"]})[1]["data"]}
    finally:
        index.remove([path])
        path.unlink()


def test_a_key_is_asked_for(index, photos):
    with served(None, index=index, api_key="secret") as client:
        assert client.refusal("/search", {"texts": ["a"]})[0] == 401
        assert client.refusal("/explain", {"texts": ["a"]})[0] == 401
        name = hash_of(photos / "copy.png")
        assert thumbnail(client, name)[0] == 401
        assert thumbnail(client, name, Authorization="Bearer secret")[0] == 200


def test_a_full_queue_refuses_searches_and_thumbnails(index, photos, monkeypatch):
    begun, may_end = threading.Event(), threading.Event()

    def slow(*_, **__):
        begun.set()
        may_end.wait(20)
        return []

    monkeypatch.setattr(index, "nearest", slow)
    with served(None, index=index, max_queue=1, max_inputs=1) as client, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.post, "/search", {"texts": ["a"], "top_k": 1})
        begun.wait(20)
        assert client.refusal("/search", {"texts": ["a"], "top_k": 1}) == (429, None, "queue_full")
        assert thumbnail(client, hash_of(photos / "copy.png"))[0] == 429
        may_end.set()
        assert waiting.result()[0] == 200
        assert thumbnail(client, hash_of(photos / "copy.png"))[0] == 200


def test_a_server_without_an_index_says_so_and_shows_no_search():
    with served(Colours()) as client:
        assert client.refusal("/search", {"texts": ["a"]}) == (404, None, "no_index")
        assert thumbnail(client, "0" * 64)[0] == 404
        assert b"<body>" in client.send("GET", "/")[2]


def test_the_page_shows_the_search(client):
    assert b'<body data-hits="20">' in client.send("GET", "/")[2]


def test_the_classifier_has_to_be_the_model_of_the_index(index):
    processor = CLIPProcessor.from_pretrained(SHAPES / "checkpoint")
    other = ZeroShotClassifier(load_backend("torch").load(SHAPES / "checkpoint"), processor)
    with pytest.raises(ValueError, match="index"):
        create_app(other, index=index)
