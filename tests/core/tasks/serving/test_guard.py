"""The checks before a request is answered."""

from __future__ import annotations

import json
import logging
import socket
import time

import pytest

from support.messages import mentions
from support.served import Colours, served

KEY = {"Authorization": "Bearer secret"}


@pytest.fixture(scope="module")
def client():
    with served(Colours(), api_key="secret", hosts=("127.0.0.1", "::1", "localhost")) as client:
        yield client


@pytest.mark.parametrize(
    ("header", "status"),
    [("Bearer secret", 200), ("bearer secret", 200), ("secret", 401), ("Basic secret", 401), ("Bearer  secret", 401)],
)
def test_the_key_is_that_of_the_bearer(client, header, status):
    assert client.post("/v1/embeddings", {"input": "a"}, authorization=header)[0] == status


def test_a_path_with_a_slash_too_many_is_not_redirected(client):
    status, headers, content = client.send("POST", "/v1/embeddings/", {"input": "a"}, {"Host": "evil.example"})
    assert (status, headers["Location"]) == (404, None)
    assert json.loads(content)["error"]["message"].startswith("POST /v1/embeddings/")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((host, 200) for host in ("127.0.0.1", "127.0.0.1:8000", "[::1]", "[::1]:8000", "LocalHost", "localhost:80")),
        *((host, 421) for host in ("evil.example", "evil.example:8000", "[::2]", "127.0.0.1.evil.example", "", ":80")),
    ],
)
def test_the_host_is_recognized_with_a_port_and_without(client, host, status):
    headers = {"Host": host, "Authorization": "Bearer secret"}
    found, _, content = client.send("POST", "/v1/embeddings", {"input": "a"}, headers)
    assert found == status
    if status == 421:
        assert mentions(json.loads(content)["error"]["message"], "127.0.0.1", "::1", "localhost")


def test_a_caller_that_goes_while_it_sends_is_counted_and_fills_no_log(client, caplog):
    head = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\n"
    head += b"Content-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    with caplog.at_level(logging.WARNING):
        for content in (b"", b'{"input": "a'):
            with socket.create_connection(("127.0.0.1", client.port)) as connection:
                connection.sendall(head + content)
        deadline = time.monotonic() + 20
        while b'route="embeddings",status="499"} 2.0' not in client.send("GET", "/metrics", headers=KEY)[2]:
            assert time.monotonic() < deadline
    assert not caplog.records
