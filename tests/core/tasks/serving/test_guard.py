"""The checks before a request is answered."""

from __future__ import annotations

import json

import pytest

from support.served import Colours, served


@pytest.fixture(scope="module")
def client():
    with served(Colours(), api_key="secret", hosts=("127.0.0.1",)) as client:
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
