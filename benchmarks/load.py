"""Servers of embeddings in processes of their own, and clients that send them one input at a time."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from machine import processor_seconds, resident, threads
from targets import ROOT, Target

_PATIENCE = 300.0  # seconds to start
_OK = 200
_SAID = 800  # characters of a server's last words


class ServerError(RuntimeError):
    """A server that does not start, or an answer that is not an embedding."""


@dataclass(frozen=True)
class Turn:
    """The answers to one request for each input.

    Attributes:
        seconds: from the first request to the last answer.
        latencies: of each request, in seconds.
        server: processor time of the server in seconds; NaN where it is not known.
        clients: processor time of the clients in seconds.
        embeds: `(inputs, dim)`, float32, of unit norm.
    """

    seconds: float
    latencies: list[float]
    server: float
    clients: float
    embeds: np.ndarray


class Load:
    """A server, and its clients.

    Args:
        name: the server's name.
        command: its command line.
        port: its port.
        paths: by kind of input, the path of its embeddings; "health" is that of its health check.
        fields: further fields of each request, by kind of input.
        version: its version.

    Raises:
        ServerError: if it does not start.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        port: int,
        *,
        path: str,
        health: str,
        fields: dict[str, dict[str, Any]],
        version: str,
    ) -> None:
        self.name, self.version = name, version
        self._port, self._path, self._fields = port, path, fields
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed by `close`
        environment = {**os.environ, **_ENVIRONMENT}
        try:
            self._process = subprocess.Popen(command, stdout=self._said, stderr=self._said, env=environment)  # noqa: S603
        except OSError as error:
            raise ServerError(f"{command[0]} could not be started: {error.strerror}") from error
        try:
            self._wait(health)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the server."""
        self._process.kill()
        self._process.wait()
        self._said.close()

    def memory(self) -> int:
        """Return the resident memory of the server's processes, in bytes. On Linux only."""
        return sum(resident(number) for number in _family(self._process.pid))

    def body(self, kind: str, value: str) -> bytes:
        """Return the request for an embedding of a text or a data URI."""
        content = json.dumps({"input": [value], **self._fields[kind]}).encode()
        head = f"POST {self._path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content

    def turn(self, bodies: list[bytes], clients: int) -> Turn:
        """Send every request once, from this number of clients at a time.

        Raises:
            ServerError: if an answer is missing or has another status than 200.
        """
        before = self._processor_seconds()
        answers, latencies, seconds, own = asyncio.run(self._turn(bodies, clients))
        server = self._processor_seconds() - before
        rows = [json.loads(answer)["data"][0]["embedding"] for answer in answers]
        return Turn(seconds, latencies, server, own, np.array(rows, np.float32))

    def _processor_seconds(self) -> float:
        return sum(map(processor_seconds, _family(self._process.pid)))

    async def _turn(self, bodies: list[bytes], clients: int) -> tuple[list[bytes], list[float], float, float]:
        """Return the answers, the latencies, the seconds of all, and the clients' processor time."""
        answers: list[bytes] = [b""] * len(bodies)
        latencies = [0.0] * len(bodies)
        waiting = iter(range(len(bodies)))

        async def client() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                for place in waiting:
                    since = time.perf_counter()
                    writer.write(bodies[place])
                    answers[place] = await _answer(reader)
                    latencies[place] = time.perf_counter() - since
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

        start, before = time.perf_counter(), time.thread_time()
        try:
            await asyncio.gather(*(client() for _ in range(clients)))
        except (OSError, EOFError) as error:
            raise ServerError(f"{self.name} closed a connection: {error}") from error
        return answers, latencies, time.perf_counter() - start, time.thread_time() - before

    def _wait(self, health: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                self._said.seek(0)
                said = " ".join(self._said.read()[-_SAID:].split())
                raise ServerError(f"it ended with status {self._process.returncode}: ... {said}")
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
            with suppress(OSError):
                connection.request("GET", health)
                if connection.getresponse().status == _OK:
                    connection.close()
                    return
            connection.close()
            time.sleep(0.2)
        raise ServerError(f"it did not start within {_PATIENCE:.0f} s")


def ours(folder: Path) -> Load:
    """Start `clip-zoo serve`.

    Args:
        folder: the checkpoint.
    """
    port = _free_port()
    command = [sys.executable, "-m", "clip_core.cli", "serve", "--model", str(folder), "--model-name", "clip"]
    command += ["--backend", "torch", "--device", "cpu", "--port", str(port)]
    fields: dict[str, dict[str, Any]] = {"images": {}, "texts": {}}
    number = version("clip-zoo")
    return Load("ours", command, port, path="/v1/embeddings", health="/healthz", fields=fields, version=number)


def infinity(folder: Path) -> Load:
    """Start Infinity, in an environment of its own.

    Args:
        folder: the checkpoint.

    Raises:
        ServerError: if the environment has not been created, or it does not start.
    """
    python = Target("", "infinity").python()
    if not python.exists():
        raise ServerError(f"{python} is missing; `make bench` creates it")
    port = _free_port()
    command = [str(python.with_name("infinity_emb")), "v2", "--model-id", str(folder), "--served-model-name", "clip"]
    command += ["--engine", "torch", "--device", "cpu", "--dtype", "float32", "--no-bettertransformer"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    fields = {kind: {"model": "clip", "modality": modality} for kind, modality in _MODALITIES.items()}
    return Load(
        "infinity", command, port, path="/embeddings", health="/health", fields=fields, version=_version(python)
    )


_MODALITIES = {"images": "image", "texts": "text"}
_ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    "OMP_NUM_THREADS": str(threads()),
    "HF_HUB_OFFLINE": "1",
    # transformers, which Infinity uses, would import every framework.
    "USE_TF": "0",
    "USE_FLAX": "0",
    "USE_JAX": "0",
    "DO_NOT_TRACK": "1",
}


def _family(number: int) -> list[int]:
    """Return a process and its descendants: `clip-zoo` runs a command in a fork."""
    found = [number]
    for one in found:
        found += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
    return found


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    length = next(line for line in head.lower().split("\r\n") if line.startswith("content-length:"))
    content = await reader.readexactly(int(length.partition(":")[2]))
    if head.split()[1] != str(_OK):
        raise ServerError(f"status {head.split()[1]}: {content[:200].decode(errors='replace')}")
    return content


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _version(python: Path) -> str:
    code = "from importlib.metadata import version; print(*(f'{n} {version(n)}' for n in ['infinity-emb', 'torch']))"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip()
