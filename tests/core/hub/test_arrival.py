"""Files from a hub that does not send what it announced: refused before use, and nowhere on the disk afterwards."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from support import hub_server
from support.hub_server import HubClient, HubClientError
from support.messages import mentions

WEIGHTS = bytes(range(256)) * 40
OTHER = WEIGHTS[::-1]


@pytest.fixture(autouse=True)
def fresh(server):
    server.repositories = {"user/clip": {"main": {"model.safetensors": WEIGHTS, "config.json": b"{}"}}}
    server.headers, server.bodies, server.redirects = {}, {}, False
    yield
    server.headers, server.bodies, server.redirects = {}, {}, False


@pytest.fixture(scope="module")
def client(server, tmp_path_factory):
    client = HubClient(server.url, tmp_path_factory.mktemp("home"), HF_HUB_DISABLE_XET="1")
    yield client
    client.close()


@pytest.fixture
def cache(tmp_path):
    """A cache deep in a folder of the test, so that a path that leads out of it stays in that folder."""
    return tmp_path / "a" / "b" / "c" / "d" / "cache"


def find(client, cache, name="model.safetensors", **options):
    return Path(client("find_file", "user/clip", name, cache_dir=str(cache), **options))


def refused(client, cache, **options):
    with pytest.raises(HubClientError) as caught:
        find(client, cache, **options)
    assert caught.value.kind == "ArrivalError"
    assert "\n" not in caught.value.message
    return caught.value.message


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file() and ".locks" not in path.parts]


@pytest.mark.parametrize("redirects", [False, True])
@pytest.mark.parametrize(
    "body", [OTHER, WEIGHTS[:-1], WEIGHTS + b"more", b""], ids=["other", "shorter", "longer", "empty"]
)
def test_a_file_that_contradicts_its_hash_or_size_is_refused_and_deleted(server, client, cache, redirects, body):
    server.redirects, server.bodies = redirects, {"model.safetensors": body}
    with pytest.raises(HubClientError) as caught:
        find(client, cache)
    assert caught.value.kind in {"ArrivalError", "FileNotFoundError"}  # huggingface_hub notices some sizes itself
    assert not any(path.read_bytes() == body for path in files(cache) if path.suffix != ".incomplete")
    assert client("find_file", "user/clip", "model.safetensors", cache_dir=str(cache), local_files_only=True) is None
    server.bodies = {"model.safetensors": WEIGHTS}
    assert find(client, cache).read_bytes() == WEIGHTS
    assert find(client, cache, local_files_only=True).read_bytes() == WEIGHTS


@pytest.mark.parametrize("redirects", [False, True])
def test_the_message_names_the_file_and_both_hashes(server, client, cache, redirects):
    server.redirects, server.bodies = redirects, {"model.safetensors": OTHER}
    message = refused(client, cache)
    assert mentions(message, "model.safetensors", "user/clip")
    if redirects:
        assert hashlib.sha256(WEIGHTS).hexdigest() in message
        assert hashlib.sha256(OTHER).hexdigest() in message


def test_a_cached_file_is_replaced_only_by_what_was_announced(server, client, cache):
    server.redirects, server.bodies = True, {"model.safetensors": WEIGHTS}
    find(client, cache)
    server.bodies = {"model.safetensors": OTHER}
    assert find(client, cache).read_bytes() == WEIGHTS  # not downloaded again
    assert hashlib.sha256(OTHER).hexdigest() in refused(client, cache, force_download=True)


def test_gits_hash_of_a_small_file_is_accepted(server, client, cache):
    content = server.repositories["user/clip"]["main"]["config.json"]
    git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    server.headers = {"ETag": f'"{git}"'}
    assert find(client, cache, "config.json").read_bytes() == content
    server.bodies = {"config.json": b"[]"}
    assert git in refused(client, cache, name="config.json", force_download=True)


def test_an_etag_that_is_no_hash_is_accepted(server, client, cache):
    server.headers = {"ETag": 'W/"5e-18_a.b"'}
    assert find(client, cache).read_bytes() == WEIGHTS


@pytest.mark.parametrize("header", ["ETag", "X-Repo-Commit", "X-Linked-Etag"])
@pytest.mark.parametrize("name", ["../../../outside", "..", "/etc/outside", "a/b", "a\\b", "\x1b[2J", "x" * 300])
def test_an_etag_or_commit_that_leads_out_of_the_cache_is_refused(server, client, cache, tmp_path, header, name):
    server.redirects = header == "X-Linked-Etag"
    server.bodies = {"model.safetensors": WEIGHTS}
    server.headers = {header: name}
    message = refused(client, cache)
    assert message.isprintable()
    assert len(message) < 300
    assert files(tmp_path) == []


def test_the_commit_of_a_missing_file_does_not_lead_out_of_the_cache(server, client, cache, tmp_path):
    server.headers = {"X-Repo-Commit": "../../../outside"}
    refused(client, cache, name="missing.json")
    assert files(tmp_path) == []


def test_the_report_for_upstream_can_be_reproduced():
    """Each fault is tried on the installed release; a release that has none of them needs no report any more."""
    program = Path(hub_server.__file__).parents[1] / "hostile" / "upstream.py"
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    release, *faults = done.stdout.splitlines()
    assert release.startswith("huggingface_hub ")
    assert len(faults) == 5
    assert any(fault.startswith("holds ") for fault in faults)
