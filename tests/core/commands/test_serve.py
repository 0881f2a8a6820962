"""`clip-zoo serve` as a program: it prints its address, answers, and ends as it is told to."""

from __future__ import annotations

import logging
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from clip_core.tasks.search import ImageIndex
from support.messages import mentions, refused_line
from support.programs import environment

ROOT = Path(__file__).parents[3]
SHAPES = ROOT / "examples" / "shapes"
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "serving.md").read_text(), re.DOTALL)


def start(*options, **variables):
    model = () if "--index" in options else ("--model", SHAPES / "checkpoint")
    command = [sys.executable, "-m", "clip_core.cli", "serve", *model, "--port", "0"]
    environ = {**environment(), "HF_HUB_OFFLINE": "1", **variables}
    return subprocess.Popen(
        [*command, "--backend", "torch", *options],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    with ImageIndex(folder, model=SHAPES / "checkpoint", backend="torch", create=True) as index:
        index.add([SHAPES / "pictures"])
    return folder


@pytest.fixture
def process(index):
    process = start("--index", index)
    yield process
    process.kill()
    process.communicate()


def address_of(process):
    return re.search(r"http://\S+", process.stdout.readline())[0]


def fetch(address, **headers):
    """Return the status of an answer. Connections are queued from the start, and answered once the model is loaded."""
    request = urllib.request.Request(address, headers=headers)  # noqa: S310  http alone
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.parametrize("way", [signal.SIGTERM, signal.SIGINT])
def test_what_the_documentation_shows_works_and_a_signal_ends_it(process, way, tmp_path, monkeypatch):
    address = address_of(process)
    assert fetch(f"{address}/healthz") == 200
    shutil.copy(SHAPES / "pictures" / "a-green-cross.png", tmp_path / "cat.jpg")
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in BLOCKS[:4]:
        exec(block.replace("http://127.0.0.1:8000", address), names)  # noqa: S102
    assert -1 <= names["similarity"] <= 1
    assert names["likeliest"]["label"] in {"a cat", "a dog"}
    assert 0.5 <= names["likeliest"]["probability"] <= 1
    assert np.shape(names["explanation"]["heatmap"]) == (4, 4)
    assert names["explanation"]["overlay"].startswith("data:image/png;base64,")
    assert SHAPES.joinpath("pictures", names["best"]["name"]) == Path(names["best"]["path"])
    assert names["thumbnail"].startswith(b"\xff\xd8\xff")
    process.send_signal(way)
    process.wait(20)
    assert process.stderr.read() == ""
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}[way]


def test_the_applications_blocks_of_the_documentation_run(index):
    names = {}
    for block in BLOCKS[4:]:
        local = block.replace("openai/clip-vit-base-patch32", str(SHAPES / "checkpoint"))
        exec(local.replace("photos-index", str(index)), names)  # noqa: S102
        assert names["app"].routes
    names["index"].close()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--port", "70000"], "--port 70000"),
        (["--port", "-1"], "--port -1"),
        (["--port", "1.5"], "--port"),
        (["--batch-size", "0"], "--batch-size 0"),
        (["--max-inputs", "9000"], "--max-inputs 9000"),
        (["--timeout", "nan"], "--timeout"),
        (["--timeout", "0"], "--timeout 0"),
        (["--max-wait", "-1"], "--max-wait"),
        (["--host", "256.1.1.1"], "--host 256.1.1.1"),
        (["--host", "no.such.host.invalid"], "--host no.such.host.invalid"),
        (["--model", "no-such-model"], "no-such-model"),
        (["--backend", "mxnet"], "mxnet"),
        (["--index", "no-such-index"], "no-such-index"),
        (["--max-explanations", "0"], "--max-explanations 0"),
    ],
)
def test_a_bad_option_is_named_in_one_line(run, options, named):
    code, out, err = run("serve", *options, *(() if "--model" in options else ("--model", SHAPES / "checkpoint")))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert mentions(err, named)


def test_a_model_whose_embeddings_are_not_finite_is_refused_before_requests(run, monkeypatch):
    monkeypatch.setattr("clip_torch.backend.ModelEncoder.encode_texts", lambda *_: np.full((1, 4), np.nan, np.float32))
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
    refused_line(run, "serve", "--model", SHAPES / "checkpoint", "--backend", "torch", "--port", 0)


def test_an_address_in_use_is_told_before_the_model_is_loaded(run):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, _, err = run("serve", "--port", port, "--model", "no-such-model")
    assert code == 2
    assert mentions(err, f"--port {port}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("host", ["256.1.1.1", "192.0.2.1"])  # the second one is no machine's: RFC 5737
def test_an_address_of_no_machine_is_not_blamed_on_the_port(run, host):
    code, _, err = run("serve", "--host", host, "--model", SHAPES / "checkpoint")
    assert code == 2
    assert mentions(err, f"--host {host}")
    assert not mentions(err, "--port")


def test_the_log_handlers_of_other_libraries_stay_open(run, monkeypatch):
    """TensorFlow and JAX bring one that closes the stream that it writes to."""
    closed = []

    class Handler(logging.Handler):
        def close(self):
            closed.append(self)
            super().close()

    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
    handler = Handler()
    code, out, err = run("serve", "--model", SHAPES / "checkpoint", "--backend", "torch", "--port", 0)
    assert (code, err) == (0, "")
    assert "http://127.0.0.1" in out
    assert closed == []
    handler.close()


def test_a_missing_package_is_named_with_its_extra(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, _, err = run("serve", "--model", SHAPES / "checkpoint")
    assert code == 2
    assert mentions(err, "uvicorn", "'clip-zoo[serve]'")


def test_a_key_from_the_environment_is_asked_for_and_threads_of_openmp_sleep_at_barriers():
    process = start(CLIP_ZOO_API_KEY="secret", OMP_DISPLAY_ENV="VERBOSE")  # PyTorch's library prints what it read
    try:
        address = address_of(process)
        assert fetch(f"{address}/v1/models") == 401
        assert fetch(f"{address}/v1/models", Authorization="Bearer secret") == 200
    finally:
        process.terminate()
        _, err = process.communicate()
    assert set(re.findall(r"GOMP_SPINCOUNT = '(\d+)'", err)) == {"0"}
