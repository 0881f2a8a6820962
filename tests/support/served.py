"""A server in a thread of this process, and requests to it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import uvicorn

from clip_core.images.processor import CLIPImageProcessor
from clip_core.processing.batch import BatchFeature
from clip_core.tasks.serving import ServerSettings, create_app
from clip_core.tasks.zero_shot import ZeroShotClassifier

ALPHABET = 26


class Colours:
    """Encoder and processor in one: a text is the unit vector of its first letter, an image that of its colour."""

    tokenizer = SimpleNamespace(model_max_length=16, pad_token_id=0)
    image_processor = CLIPImageProcessor(size=4, crop_size=4)

    def __init__(self):
        self.batches = []
        self.may_run = threading.Event()
        self.may_run.set()

    def __call__(self, text=None, images=None, **options):
        if images is not None:
            return self.image_processor(images, do_normalize=False, return_tensors="np")
        width = max(len(one.split()) for one in text)
        ids = np.array([[ord(one[0]) - ord("a")] * width for one in text])
        mask = np.array([[index < len(one.split()) for index in range(width)] for one in text], np.int64)
        if options.get("truncation"):
            ids, mask = ids[:, :16], mask[:, :16]
        return BatchFeature({"input_ids": ids, "attention_mask": mask})

    def encode_texts(self, input_ids, attention_mask):
        self.may_run.wait(20)
        self.batches.append(("text", len(input_ids)))
        return np.eye(ALPHABET, dtype=np.float32)[input_ids[:, 0]]

    def encode_images(self, pixel_values):
        self.may_run.wait(20)
        self.batches.append(("image", len(pixel_values)))
        reds = pixel_values[:, 0].mean(axis=(1, 2))
        return np.eye(ALPHABET, dtype=np.float32)[np.rint(reds * 255).astype(int)]

    def logits_per_image(self, image_embeds, text_embeds):
        return 10 * image_embeds @ text_embeds.T


class Client:
    """Requests to a server."""

    def __init__(self, port):
        self.port = port

    def send(self, method, path, body=None, headers=None):
        """Return the status, the headers and the body; a body that is no bytes is sent as JSON."""
        content = body if isinstance(body, bytes | type(None)) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, content, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def post(self, path, body, **headers):
        """Return the status and the fields of the answer."""
        status, _, content = self.send("POST", path, body, {name.title(): value for name, value in headers.items()})
        return status, json.loads(content)

    def refusal(self, path, body, **headers):
        """Return the status, the field and the code of a refused request, which is answered in one sentence."""
        status, answer = self.post(path, body, **headers)
        assert "\n" not in answer["error"]["message"]
        assert len(answer["error"]["message"]) < 500
        return status, answer["error"]["param"], answer["error"]["code"]


@contextmanager
def served(encoder, processor=None, *, index=None, **settings):
    """Yield a client of a server, which stops with the block; with an index, `encoder` is None."""
    classifier = index.model if index else ZeroShotClassifier(encoder, processor or encoder)
    with running(create_app(classifier, ServerSettings(**settings), index=index)) as client:
        yield client


@contextmanager
def running(app):
    """Yield a client of an ASGI application, whose server stops with the block."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="critical", lifespan="on"))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            thread.join(0.005)
        yield Client(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def value(client, name):
    """Return the value of a metric, by the beginning of its line."""
    text = client.send("GET", "/metrics")[2].decode()
    return float(next(line for line in text.splitlines() if line.startswith(name)).split()[-1])


def in_progress(client):
    """Return the number of inputs in progress."""
    return value(client, "clip_inputs_in_progress")


def wait_for(condition):
    """Wait until a condition holds, for at most 20 seconds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
