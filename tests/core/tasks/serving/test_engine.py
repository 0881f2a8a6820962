"""Explanations over HTTP: the numbers of `Explainer` in every framework, and refusals; and answers not finite."""

from __future__ import annotations

import base64
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.routing import Mount

from clip_core.backends import load_backend
from clip_core.processing import CLIPProcessor
from clip_core.tasks.explain import Explainer
from clip_core.tasks.explain.drawing import overlay
from clip_core.tasks.serving import ServerSettings, create_app
from clip_core.tasks.zero_shot import ZeroShotClassifier
from support.served import Colours, running, served
from support.tolerances import NEAREST_BYTE, ROUNDING

SHAPES = Path(__file__).parents[4] / "examples" / "shapes"
PICTURE = SHAPES / "pictures" / "four-red-hearts.png"


def _uri_of(image):
    file = BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


DARK = _uri_of(Image.new("RGB", (6, 5), (1, 0, 0)))
URI = f"data:image/png;base64,{base64.b64encode(PICTURE.read_bytes()).decode()}"
TEXTS = ["four red hearts", "a blue circle"]


@pytest.fixture(scope="module")
def torch_client():
    encoder = load_backend("torch").load(SHAPES / "checkpoint")
    processor = CLIPProcessor.from_pretrained(SHAPES / "checkpoint")
    with served(encoder, processor, max_explanations=2, max_pixels=100_000) as client:
        yield client


def test_a_model_of_any_framework_is_explained(backend):
    encoder = load_backend(backend.name).load(SHAPES / "checkpoint")
    processor = CLIPProcessor.from_pretrained(SHAPES / "checkpoint")
    with served(encoder, processor) as client:
        for method, start_layer in (("chefer", None), ("legrad", None), ("chefer", 0)):
            body = {"image": URI, "texts": TEXTS, "method": method, "start_layer": start_layer}
            status, answer = client.post("/explain", body)
            assert (status, answer["method"]) == (200, method)
            expected = Explainer(encoder, processor)(PICTURE, TEXTS, method=method, start_layer=start_layer)
            for found, one in zip(answer["data"], expected.explanations, strict=True):
                assert found["text"] == one.text
                assert found["logit"] == pytest.approx(one.logit, rel=ROUNDING)
                np.testing.assert_allclose(found["heatmap"], one.heatmap, rtol=0, atol=ROUNDING)
                assert [word["word"] for word in found["words"]] == [word.text for word in one.words]
                content = base64.b64decode(found["overlay"].removeprefix("data:image/png;base64,"))
                with Image.open(BytesIO(content)) as drawn:
                    difference = np.asarray(drawn, int) - np.asarray(overlay(expected, one), int)
                assert np.abs(difference).max() <= NEAREST_BYTE


def test_requests_go_through_the_prepared_encoder_and_explanations_through_the_other():
    class Two(Colours):
        def prepared(self):
            return many

    few, many = Two(), Colours()
    with served(few) as client:
        assert client.post("/v1/embeddings", {"input": ["a", "b"]})[0] == 200
        assert client.post("/classify", {"images": [DARK], "labels": ["a", "b"]})[0] == 200
    assert {kind for kind, _ in many.batches} == {"text", "image"}
    assert few.batches == []


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"image": None}, "image", "missing_field"),
        ({"image": "a"}, "image", None),
        ({"image": [URI, URI]}, "image", None),
        ({"image": "data:image/png;base64,AAAA"}, "image", "unreadable_image"),
        ({"image": "http://127.0.0.1/a.png"}, "image", "urls_are_off"),
        ({"texts": []}, "texts", None),
        ({"texts": ["a", "b", "c"]}, "texts", None),
        ({"texts": ["a", ""]}, "texts[1]", None),
        ({"texts": ["a", "star " * 100]}, "texts[1]", "text_too_long"),
        ({"method": "gradcam"}, "method", None),
        ({"method": ["chefer"]}, "method", None),
        ({"start_layer": 4}, "start_layer", None),
        ({"start_layer": -5}, "start_layer", None),
        ({"start_layer": "all"}, "start_layer", None),
        ({"layer": 1}, "layer", "unknown_field"),
    ],
)
def test_a_bad_request_is_refused_with_its_field(torch_client, change, param, code):
    body = {"image": URI, "texts": ["a star"], **change}
    assert torch_client.refusal("/explain", body) == (400, param, code)


def test_an_image_that_would_become_too_large_is_refused_like_any_other(torch_client):
    narrow = _uri_of(Image.new("RGB", (1, 20_000)))
    for path, body, param in (
        ("/explain", {"image": narrow, "texts": ["a star"]}, "image"),
        ("/classify", {"images": [URI, narrow], "labels": ["a star"]}, "images[1]"),
    ):
        assert torch_client.refusal(path, body) == (400, param, "unreadable_image")
        assert "images[0]" not in torch_client.post(path, body)[1]["error"]["message"]  # its place in a batch of one


def test_an_image_of_many_pixels_is_refused(torch_client):
    refusal = torch_client.refusal("/explain", {"image": _uri_of(Image.new("RGB", (400, 251))), "texts": ["a star"]})
    assert refusal == (400, "image", "unreadable_image")


def test_a_model_without_gradients_says_so():
    with served(Colours()) as client:
        assert client.refusal("/explain", {"image": URI, "texts": ["a"]})[0] == 501


def test_answers_that_are_not_finite_are_errors_of_the_server():
    class Overflowing(Colours):
        def encode_texts(self, input_ids, attention_mask):
            return np.where(input_ids[:, :1] == 25, np.float32(np.nan), super().encode_texts(input_ids, attention_mask))

    with served(Overflowing()) as client:
        for path, body in (
            ("/v1/embeddings", {"input": ["a", "z"]}),
            ("/classify", {"images": [DARK], "labels": ["a", "z"]}),
        ):
            status, answer = client.post(path, body)
            assert (status, answer["error"]["code"]) == (500, "not_finite")


def test_an_application_is_mounted_in_another_whose_lifespan_starts_it():
    app = create_app(ZeroShotClassifier(Colours(), Colours()), ServerSettings())

    @asynccontextmanager
    async def lifespan(_):
        async with app.router.lifespan_context(app):
            yield

    for options, status, code in (({}, 503, "not_started"), ({"lifespan": lifespan}, 200, None)):
        with running(Starlette(routes=[Mount("/clip", app)], **options)) as client:
            for path, body in (("embeddings", {"input": "a"}), ("embeddings", {"input": "a", "dimensions": 26})):
                found, answer = client.post(f"/clip/v1/{path}", body)
                assert (found, answer.get("error", {}).get("code")) == (status, code)
            assert b"<html" in client.send("GET", "/clip/")[2]
            assert b"fetch" in client.send("GET", "/clip/page.js")[2]
