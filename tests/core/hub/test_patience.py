"""Hubs that ask to wait, are slow or silent, or redirect in circles: the real loading path, against a stand-in."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from clip_core.hub import patience
from support.hub_server import HubClient, error_line
from support.messages import mentions

CONFIG = b'{"model_type": "clip"}'


@pytest.fixture(autouse=True)
def fresh(server):
    server.repositories = {"user/clip": {"main": {"config.json": CONFIG}}}
    yield
    server.waits, server.is_silent, server.pause, server.circle, server.redirects = [], False, 0.0, None, False
    server.requests.clear()


@pytest.fixture(scope="module")
def client(server, tmp_path_factory):
    limits = {"HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
    client = HubClient(server.url, tmp_path_factory.mktemp("home"), **limits)
    yield client
    client.close()


@pytest.fixture
def hub(client, tmp_path):
    client("waits")
    return lambda function, *args, **options: client(function, *args, cache_dir=str(tmp_path / "cache"), **options)


@pytest.mark.parametrize("function", ["find_file", "list_files"])
def test_a_hub_that_asks_to_wait_is_asked_again_after_that_time(hub, client, server, function):
    server.waits = ["7", "0", "3"]
    found = hub(function, "user/clip", *(["config.json"] if function == "find_file" else []))
    assert found == ["config.json"] if function == "list_files" else Path(found).read_bytes() == CONFIG
    slept, told = client("waits")
    assert slept == [7, 1, 3]
    assert [mentions(line, seconds) for line, seconds in zip(told, slept, strict=True)] == [True] * 3


def test_it_may_name_a_time(hub, client, server):
    server.waits = [format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)]
    hub("find_file", "user/clip", "config.json")
    (slept,), _ = client("waits")
    assert 25 <= slept <= 30


@pytest.mark.parametrize(
    ("waits", "slept", "named"),
    [(["61"], [], 61), (["40", "30"], [40], 30), (["soon"], [], "later"), (["9" * 400], [], "later")],
)
def test_nobody_waits_for_more_than_a_minute(hub, client, server, waits, slept, named):
    server.waits = list(waits) + waits[-1:] * 3
    for function, names in (("find_file", ["config.json"]), ("list_files", [])):
        server.waits = list(waits)
        line = error_line(hub, function, "user/clip", *names)
        assert mentions(line, "FileNotFoundError", "'user/clip'", 429, named)
        assert client("waits")[0] == slept


def test_a_file_in_the_cache_needs_no_wait(hub, client, server):
    path = hub("find_file", "user/clip", "config.json")
    server.waits = ["61"]
    assert hub("find_file", "user/clip", "config.json") == path
    assert client("waits") == [[], []]


@pytest.mark.parametrize("function", ["find_file", "list_files", "CLIPConfig.from_pretrained"])
def test_a_silent_hub_is_given_up_after_its_time_limit(hub, server, function):
    server.is_silent = True
    start = time.monotonic()
    line = error_line(hub, function, "user/clip", *(["config.json"] if function == "find_file" else []))
    assert mentions(line, "FileNotFoundError", "'user/clip'")
    assert time.monotonic() - start < 15


def test_a_slow_hub_is_waited_for(hub, server):
    server.pause = 0.1
    start = time.monotonic()
    assert Path(hub("find_file", "user/clip", "config.json")).read_bytes() == CONFIG
    assert time.monotonic() - start > 1  # longer than the limit of one wait


@pytest.mark.parametrize("is_relative", [True, False])
@pytest.mark.parametrize("function", ["find_file", "list_files"])
def test_redirects_in_a_circle_end(hub, server, function, is_relative):
    server.circle = "" if is_relative else server.url
    line = error_line(hub, function, "user/clip", *(["config.json"] if function == "find_file" else []))
    assert mentions(line, "FileNotFoundError", "'user/clip'")


def test_a_program_prints_one_line_for_all_repeated_requests(caplog, monkeypatch):
    import requests
    from huggingface_hub.utils import _http

    monkeypatch.setattr(patience, "_one_warning", patience._OneWarning())
    monkeypatch.setattr(_http.logger, "filters", [])  # of commands that earlier tests ran in this process
    patience.tell_of_retries_once()
    monkeypatch.setattr(_http, "get_session", requests.Session)  # the suite's own is offline
    with pytest.raises(requests.ConnectionError):
        _http.http_backoff("HEAD", "http://127.0.0.1:9/", max_retries=3, base_wait_time=0)
    assert [record.name for record in caplog.records] == [patience.__name__]
