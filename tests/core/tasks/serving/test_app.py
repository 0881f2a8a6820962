"""The routes: embeddings as OpenAI's clients request them, labels, limits, and refusals in one sentence."""

from __future__ import annotations

import base64
import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_core.backends import load_backend
from clip_core.processing import CLIPProcessor
from clip_core.tasks import ZeroShotClassifier, encode_images, encode_texts
from clip_core.tasks.serving import app
from support.messages import mentions
from support.served import ALPHABET, Colours, in_progress, served, value, wait_for
from support.tolerances import ROUNDING

SHAPES = Path(__file__).parents[4] / "examples" / "shapes"


def uri(red, size=(6, 5), layout="PNG"):
    file = BytesIO()
    Image.new("RGB", size, (red, 0, 0)).save(file, layout)
    return f"data:image/{layout.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def one_hot(place):
    return np.eye(ALPHABET, dtype=np.float32)[place].tolist()


@pytest.fixture(scope="module")
def client():
    with served(Colours(), model_name="letters", max_inputs=40, max_body=20_000, max_pixels=1_000) as client:
        yield client


@pytest.mark.parametrize(
    ("given", "places"),
    [
        ("b", [1]),
        (["c", "a", "c"], [2, 0, 2]),
        (uri(3), [3]),
        (["b", uri(4), "c", uri(5, layout="BMP")], [1, 4, 2, 5]),
        ([{"type": "text", "text": "d"}, {"type": "image_url", "image_url": {"url": uri(6)}}], [3, 6]),
        ([{"type": "image_url", "image_url": uri(7)}, {"image": uri(8)}, {"text": "e"}], [7, 8, 4]),
        ([{"type": "input_text", "input_text": "f"}, {"type": "input_image", "image_url": uri(9)}], [5, 9]),
    ],
)
def test_texts_and_images_are_embedded_in_order(client, given, places):
    status, answer = client.post("/v1/embeddings", {"input": given, "model": "letters"})
    assert status == 200
    assert answer["object"] == "list"
    assert answer["model"] == "letters"
    assert [one["index"] for one in answer["data"]] == [*range(len(places))]
    assert [one["embedding"] for one in answer["data"]] == [one_hot(place) for place in places]
    assert {one["object"] for one in answer["data"]} == {"embedding"}


def test_tokens_are_counted(client):
    _, answer = client.post("/v1/embeddings", {"input": ["a b c", uri(1), "d"]})
    assert answer["usage"] == {"prompt_tokens": 4, "total_tokens": 4}


def test_base64_holds_the_same_numbers(client):
    _, answer = client.post("/v1/embeddings", {"input": ["z"], "encoding_format": "base64"})
    found = np.frombuffer(base64.b64decode(answer["data"][0]["embedding"]), "<f4")
    assert found.tolist() == one_hot(25)


@pytest.mark.parametrize("writer", [app._as_json, app._printed])
def test_numbers_have_the_digits_that_identify_them(monkeypatch, writer):
    monkeypatch.setattr(app, "_as_json", writer)
    bits = np.random.default_rng(0).integers(0, 1 << 32, 4000, np.uint32)
    numbers = np.append(bits.view(np.float32), np.float32([0, 1, -1, 0.1, 1e-45, 1e-7, 123456789, 1e16]))
    numbers = numbers[np.isfinite(numbers)]
    numbers = np.stack([numbers, -numbers])
    rows = json.loads(b"[%b]" % app._written(numbers, "float"))
    assert [row["index"] for row in rows] == [0, 1]
    np.testing.assert_array_equal(np.float32([row["embedding"] for row in rows]), numbers)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "input", "missing_field"),
        ({"input": []}, "input", "missing_field"),
        ({"input": None}, "input", "missing_field"),
        ({"input": ""}, "input", None),
        ({"input": ["a", " "]}, "input[1]", None),
        ({"input": ["a", None]}, "input[1]", None),
        ({"input": [1, 2]}, "input", "token_ids"),
        ({"input": [[1, 2], [3]]}, "input", "token_ids"),
        ({"input": 5}, "input", "token_ids"),
        ({"input": True}, "input", None),
        ({"input": {"type": "video"}}, "input", None),
        ({"input": {"image_url": {"url": None}}}, "input", None),
        ({"input": {"text": {"url": 3}}}, "input", None),
        ({"input": ["a"] * 41}, "input", None),
        ({"input": " ".join("a" * 17)}, "input", "text_too_long"),
        ({"input": ["b", " ".join("a" * 17), "c"]}, "input[1]", "text_too_long"),
        ({"input": "data:image/png;base64,????"}, "input", None),
        ({"input": "data:image/png,abc"}, "input", None),
        ({"input": "data:image/png;base64,AAAA"}, "input", "unreadable_image"),
        ({"input": uri(1)[:-80]}, "input", "unreadable_image"),
        ({"input": uri(1, (50, 21))}, "input", "unreadable_image"),
        ({"input": {"image": "photo.png"}}, "input", None),
        ({"input": {"image": "file:///etc/passwd"}}, "input", None),
        ({"input": {"image": "http://127.0.0.1/a.png"}}, "input", "urls_are_off"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format", None),
        ({"input": "a", "encoding_format": ["float"]}, "encoding_format", None),
        ({"input": "a", "encoding_format": ""}, "encoding_format", None),
        ({"input": "a", "encoding_format": 0}, "encoding_format", None),
        ({"input": "a", "encoding_format": "x" * 9000}, "encoding_format", None),
        ({"input": "a", "dimensions": 5}, "dimensions", None),
        ({"input": "a", "dimensions": True}, "dimensions", None),
        ({"input": "a", "truncation": 1}, "truncation", None),
        ({"input": "a", "inputs": "b"}, "inputs", "unknown_field"),
        (b"[1]", None, "invalid_json"),
        (b"{", None, "invalid_json"),
        (b"\xff", None, "invalid_json"),
        (b"[" * 19_000, None, "invalid_json"),
    ],
)
def test_a_bad_request_is_refused_with_its_field(client, body, param, code):
    assert client.refusal("/v1/embeddings", body) == (400, param, code)


def test_null_stands_for_a_field_that_is_left_out(client):
    names = ("model", "encoding_format", "dimensions", "user", "truncation")
    assert client.post("/v1/embeddings", {"input": "a", **dict.fromkeys(names)})[0] == 200


def test_a_text_of_any_length_can_be_truncated(client):
    status, answer = client.post("/v1/embeddings", {"input": " ".join("a" * 17), "truncation": True})
    assert (status, answer["usage"]["prompt_tokens"]) == (200, 16)


def test_another_models_name_is_not_found(client):
    assert client.refusal("/v1/embeddings", {"input": "a", "model": "gpt"}) == (404, "model", "model_not_found")
    status, _, content = client.send("GET", "/v1/models")
    assert (status, [one["id"] for one in json.loads(content)["data"]]) == (200, ["letters"])
    status, _, content = client.send("GET", "/v1/models/letters")
    assert (status, json.loads(content)["id"]) == (200, "letters")
    assert client.send("GET", "/v1/models/openai/gpt")[0] == 404


def test_a_body_has_to_be_json_of_the_size_allowed(client):
    assert client.refusal("/v1/embeddings", {"input": "a" * 20_001}) == (413, None, None)
    assert client.send("POST", "/v1/embeddings", b"x", {"Content-Length": "999999999999"})[0] == 413
    status, _, _ = client.send("POST", "/v1/embeddings", b'{"input": "a"}', {"Content-Type": "text/plain"})
    assert status == 415


def test_a_body_without_a_length_is_read_up_to_the_size_allowed(client):
    with socket.create_connection(("127.0.0.1", client.port)) as connection:
        connection.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        connection.sendall((b"1000\r\n" + b" " * 0x1000 + b"\r\n") * 5)
        assert connection.recv(64).split()[1] == b"413"


@pytest.mark.parametrize(
    ("method", "path", "status", "remedies"),
    [("GET", "/v2", 404, ["/classify", "/healthz"]), ("GET", "/classify", 405, ["send POST"])],
)
def test_an_unknown_path_or_method_is_answered_in_the_same_form(client, method, path, status, remedies):
    found, _, content = client.send(method, path)
    assert found == status
    assert mentions(json.loads(content)["error"]["message"], f"{method} {path}", *remedies)


def test_images_get_their_most_likely_labels(client):
    body = {"images": [uri(1), uri(0)], "labels": ["a", "b", "c", "b"], "top_k": 2}
    status, answer = client.post("/classify", body)
    assert status == 200
    assert [[one["label"] for one in row["labels"]] for row in answer["data"]] == [["b", "a"], ["a", "b"]]
    best = np.exp(10) / (np.exp(10) + 2)
    assert answer["data"][0]["labels"][0]["probability"] == pytest.approx(best, rel=ROUNDING)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"images": ["a"]}, "images[0]"),
        ({"images": []}, "images"),
        ({"labels": []}, "labels"),
        ({"labels": ["a", 5]}, "labels"),
        ({"labels": ["a", ""]}, "labels[1]"),
        ({"labels": ["b " * 20]}, "labels"),
        ({"labels": [f"a{index}" for index in range(21)], "templates": ["{}", "a {}"]}, "labels"),
        ({"templates": ["no place"]}, "templates"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": 1.5}, "top_k"),
    ],
)
def test_a_bad_request_for_labels_is_refused_with_its_field(client, change, param):
    body = {"images": [uri(1)], "labels": ["a"], **change}
    status, found, _ = client.refusal("/classify", body)
    assert (status, found) == (400, param)


def test_a_key_is_asked_for_everywhere_but_at_the_health_check_and_the_page():
    with served(Colours(), api_key="secret") as client:
        for method, path in [("POST", "/v1/embeddings"), ("POST", "/classify"), ("GET", "/metrics")]:
            status, headers, _ = client.send(method, path, {"input": "a"})
            assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
        assert client.refusal("/v1/embeddings", {"input": "a"}, authorization="Bearer wrong")[0] == 401
        assert client.post("/v1/embeddings", {"input": "a"}, authorization="Bearer secret")[0] == 200
        assert [client.send("GET", path)[0] for path in ("/healthz", "/", "/page.js", "/page.css")] == [200] * 4


def test_a_page_whose_name_resolves_to_this_machine_is_refused():
    with served(Colours(), hosts=("localhost", "127.0.0.1")) as client:
        assert client.refusal("/v1/embeddings", {"input": "a"}, host="evil.example:80")[0] == 421
        assert client.post("/v1/embeddings", {"input": "a"}, host="localhost:80")[0] == 200


def test_requests_are_encoded_together_and_each_gets_its_own_answer():
    encoder = Colours()
    with served(encoder, batch_size=4, max_wait=0) as client, ThreadPoolExecutor(16) as pool:
        encoder.batches.clear()
        encoder.may_run.clear()
        answers = [pool.submit(client.post, "/v1/embeddings", {"input": uri(red)}) for red in range(13)]
        wait_for(lambda: in_progress(client) == 13)
        encoder.may_run.set()
        found = [answer.result()[1]["data"][0]["embedding"] for answer in answers]
    assert found == [one_hot(red) for red in range(13)]
    sizes = [size for _, size in encoder.batches]
    assert sum(sizes) == 13
    assert max(sizes) == 4
    assert len(sizes) <= 5  # the first went alone


def test_requests_beyond_the_queue_are_refused_and_those_in_it_answered():
    encoder = Colours()
    with served(encoder, max_queue=3, max_inputs=3) as client, ThreadPoolExecutor(4) as pool:
        encoder.may_run.clear()
        kept = pool.submit(client.post, "/v1/embeddings", {"input": ["a", "b", "c"]})
        wait_for(lambda: in_progress(client) == 3)
        status, headers, content = client.send("POST", "/v1/embeddings", {"input": "d"})
        assert (status, headers["Retry-After"]) == (429, "1")
        assert json.loads(content)["error"]["code"] == "queue_full"
        encoder.may_run.set()
        assert kept.result()[0] == 200
        assert client.post("/v1/embeddings", {"input": "d"})[0] == 200
        assert value(client, "clip_refused_total") == 1


def test_a_request_that_takes_too_long_is_given_up_and_the_next_is_answered():
    encoder = Colours()
    with served(encoder, timeout=0.3) as client:
        encoder.may_run.clear()
        assert client.refusal("/v1/embeddings", {"input": "a"}) == (504, None, "timeout")
        encoder.may_run.set()
        assert client.post("/v1/embeddings", {"input": "b"})[0] == 200
        assert in_progress(client) == 0


def test_one_failing_input_does_not_fail_the_requests_beside_it():
    class Fragile(Colours):
        def encode_texts(self, input_ids, attention_mask):
            embeds = super().encode_texts(input_ids, attention_mask)
            if (input_ids == 25).any():
                raise RuntimeError("a z")
            return embeds

    encoder = Fragile()
    with served(encoder, max_wait=50) as client, ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda text: client.post("/v1/embeddings", {"input": text})[0], ["a", "z", "b"]))
    assert answers == [200, 500, 200]


def test_metrics_count_what_was_asked_and_encoded():
    with served(Colours()) as client:
        client.post("/v1/embeddings", {"input": ["a", "b", uri(1)]})
        client.post("/v1/embeddings", {"input": 1.5})
        assert value(client, 'clip_requests_total{route="embeddings",status="200"}') == 1
        assert value(client, 'clip_requests_total{route="embeddings",status="400"}') == 1
        # One more of each was encoded at the start.
        assert value(client, 'clip_inputs_total{kind="text"}') == 3
        assert value(client, 'clip_inputs_total{kind="image"}') == 2
        assert value(client, 'clip_request_seconds_count{route="embeddings"}') == 2


def test_the_page_loads_nothing_from_elsewhere(client):
    for path in ("/", "/page.css", "/page.js"):
        status, headers, content = client.send("GET", path)
        assert status == 200
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert b"//" not in re.sub(rb"(?m)(^|;)\s*// .*$", b"", content)
    for path in ("/../settings.py", "/page.py", "/settings.py"):
        assert client.send("GET", path)[0] == 404


def test_a_trained_model_gives_what_the_tasks_give(backend):
    pictures = [SHAPES / "pictures" / f"{name}.png" for name in ("a-green-cross", "four-blue-circles")]
    texts = ["a green cross", "four blue circles", "two pink triangles"]
    processor = CLIPProcessor.from_pretrained(SHAPES / "checkpoint")
    encoder = load_backend(backend.name).load(SHAPES / "checkpoint")
    expected = np.concatenate([encode_texts(encoder, processor, texts), encode_images(encoder, processor, pictures)])
    uris = ["data:image/png;base64," + base64.b64encode(path.read_bytes()).decode() for path in pictures]
    with served(encoder, processor) as client:
        _, answer = client.post("/v1/embeddings", {"input": [*texts, *uris]})
        _, labelled = client.post("/classify", {"images": uris, "labels": texts, "top_k": 1})
    found = np.array([one["embedding"] for one in answer["data"]], np.float32)
    np.testing.assert_allclose(found, expected, atol=ROUNDING, rtol=0)
    assert [row["labels"][0]["label"] for row in labelled["data"]] == texts[:2]
    probabilities = ZeroShotClassifier(encoder, processor)(pictures, texts).max(-1)
    np.testing.assert_allclose(
        [row["labels"][0]["probability"] for row in labelled["data"]], probabilities, rtol=0, atol=ROUNDING
    )
