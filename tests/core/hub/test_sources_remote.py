"""Files from the hub: downloads, uploads, and errors without a network."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from clip_core.hub import list_files
from support.hub_server import TOKEN, HubClient, error_line
from support.messages import mentions

CONFIG = b'{"model_type": "clip", "text_config": {"hidden_size": 40, "num_attention_heads": 5}}'


@pytest.fixture(autouse=True)
def fresh_repositories(request):
    if "server" not in request.fixturenames and "hub" not in request.fixturenames:
        return
    server = request.getfixturevalue("server")
    files = {"config.json": CONFIG, "pytorch_model.bin": b"weights", "text_encoder/config.json": b"{}"}
    branch = {"config.json": CONFIG.replace(b"40", b"80")}
    server.repositories = {
        "user/clip": {"main": dict(files), "small": branch},
        "user/private": {"main": dict(files)},
        "user/gated": {"main": dict(files)},
    }
    server.private, server.gated, server.status = {"user/private"}, {"user/gated"}, None
    server.breaks_off = False
    server.requests.clear()
    server.commits.clear()


@pytest.fixture(scope="module")
def client(server, tmp_path_factory):
    client = HubClient(server.url, tmp_path_factory.mktemp("home"))
    yield client
    client.close()


@pytest.fixture
def hub(client, tmp_path):
    """Calls with a cache of the test's own."""
    return lambda function, *args, **options: client(function, *args, cache_dir=str(tmp_path / "cache"), **options)


@pytest.fixture(scope="module")
def offline_client(server, tmp_path_factory):
    client = HubClient(server.url, tmp_path_factory.mktemp("offline"), HF_HUB_OFFLINE="1")
    yield client
    client.close()


@pytest.fixture(scope="module")
def unreachable_client(tmp_path_factory):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nothing listens there, so connections are refused
        client = HubClient(f"http://127.0.0.1:{taken.getsockname()[1]}", tmp_path_factory.mktemp("unreachable"))
        yield client
        client.close()


class TestHub:
    def test_download_and_then_the_cache(self, hub, server):
        path = hub("find_file", "user/clip", ["model.safetensors", "pytorch_model.bin"])
        assert Path(path).read_bytes() == b"weights"
        server.requests.clear()
        assert hub("find_file", "user/clip", "pytorch_model.bin") == path
        assert not [request for request in server.requests if request.startswith("GET")]

    def test_none_where_no_name_is_there(self, hub):
        assert hub("find_file", "user/clip", ["model.safetensors", "merges.txt"]) is None

    def test_revision_and_subfolder(self, hub):
        assert b"80" in Path(hub("find_file", "user/clip", "config.json", revision="small")).read_bytes()
        assert Path(hub("find_file", "user/clip", "config.json", subfolder="text_encoder")).read_bytes() == b"{}"

    def test_force_download_takes_the_file_anew(self, hub, server):
        hub("find_file", "user/clip", "pytorch_model.bin")
        server.requests.clear()
        hub("find_file", "user/clip", "pytorch_model.bin", force_download=True)
        assert "GET /user/clip/resolve/main/pytorch_model.bin" in server.requests

    def test_local_files_only_asks_nobody(self, hub, server):
        path = hub("find_file", "user/clip", "config.json")
        server.requests.clear()
        assert hub("find_file", "user/clip", "config.json", local_files_only=True) == path
        assert hub("find_file", "user/clip", "merges.txt", local_files_only=True) is None
        assert hub("list_files", "user/clip", local_files_only=True) == ["config.json"]
        assert server.requests == []

    def test_private_repository(self, hub):
        line = error_line(hub, "find_file", "user/private", "config.json")
        assert mentions(line, "FileNotFoundError", "'user/private'", "token=...", "hf auth login")
        assert error_line(hub, "find_file", "user/private", "config.json", token="hf_wrong") == line  # noqa: S106
        assert hub("find_file", "user/private", "config.json", token=TOKEN).endswith("config.json")

    def test_unknown_repository(self, hub):
        line = error_line(hub, "require_file", "user/clop", "config.json")
        assert mentions(line, "FileNotFoundError", "'user/clop'", "token=...")

    def test_gated_repository(self, hub):
        line = error_line(hub, "find_file", "user/gated", "config.json")
        assert mentions(line, "FileNotFoundError", "'user/gated'", "gated")

    def test_unknown_revision(self, hub):
        line = error_line(hub, "find_file", "user/clip", "config.json", revision="v9")
        assert mentions(line, "FileNotFoundError", "'user/clip'", "'v9'")

    def test_missing_file(self, hub):
        line = error_line(hub, "require_file", "user/clip", ["a.json", "b.json"])
        there = ("config.json", "pytorch_model.bin", "text_encoder/")
        assert mentions(line, "FileNotFoundError", "user/clip", "a.json", "b.json", *there)
        line = error_line(hub, "require_file", "user/clip", "a.json", revision="small")
        assert mentions(line, "FileNotFoundError", "user/clip", "'small'", "a.json", "config.json")

    @pytest.mark.parametrize("source", ["user/clip!", "user/..clip", "-clip"])
    def test_what_cannot_be_a_hub_id(self, hub, source):
        line = error_line(hub, "find_file", source, "config.json")
        assert mentions(line, "FileNotFoundError", repr(source), "'user/model'")

    def test_names_that_lead_out_are_not_asked_for(self, hub, server):
        assert error_line(hub, "find_file", "user/clip", "../config.json").startswith("ValueError: ")
        assert server.requests == []

    def test_the_hub_is_down(self, hub, server):
        server.status = 500
        line = error_line(hub, "find_file", "user/clip", "config.json")
        assert mentions(line, "FileNotFoundError", "'user/clip'", 500)

    def test_a_download_that_breaks_off_leaves_no_file(self, hub, server, tmp_path):
        server.breaks_off = True
        line = error_line(hub, "find_file", "user/clip", "pytorch_model.bin")
        assert mentions(line, "FileNotFoundError", "'user/clip'")
        assert not list(tmp_path.rglob("pytorch_model.bin"))
        server.breaks_off = False
        assert Path(hub("find_file", "user/clip", "pytorch_model.bin")).read_bytes() == b"weights"

    def test_config_from_the_hub(self, hub):
        assert hub("CLIPConfig.from_pretrained", "user/clip")["text_config"]["hidden_size"] == 40
        assert hub("CLIPTextConfig.from_pretrained", "user/clip", revision="small")["hidden_size"] == 80

    def test_no_config_on_the_hub(self, hub, server):
        server.repositories["user/open"] = {"main": {"open_clip_config.json": b"{}"}}
        line = error_line(hub, "CLIPConfig.from_pretrained", "user/open")
        assert mentions(line, "FileNotFoundError", "user/open", "config.json", "open_clip_config.json")


class TestWithoutNetwork:
    def test_offline_mode_uses_the_cache(self, hub, offline_client, tmp_path, server):
        path = hub("find_file", "user/clip", "config.json")
        server.requests.clear()
        cache = {"cache_dir": str(tmp_path / "cache")}
        assert offline_client("find_file", "user/clip", ["vocab.json", "config.json"], **cache) == path
        assert offline_client("find_file", "user/clip", "vocab.json", **cache) is None
        assert offline_client("list_files", "user/clip", **cache) == ["config.json"]
        line = error_line(offline_client, "require_file", "user/clip", "vocab.json", **cache)
        assert mentions(line, "FileNotFoundError", "vocab.json", "user/clip", "HF_HUB_OFFLINE")
        assert server.requests == []

    def test_offline_mode_without_a_cached_copy(self, offline_client, tmp_path):
        cache = {"cache_dir": str(tmp_path / "cache")}
        for function in ("find_file", "require_file"):
            line = error_line(offline_client, function, "user/clip", "config.json", **cache)
            assert mentions(line, "FileNotFoundError", "'user/clip'", "HF_HUB_OFFLINE")

    def test_offline_mode_cannot_force_a_download(self, offline_client, tmp_path):
        line = error_line(
            offline_client, "find_file", "user/clip", "config.json", cache_dir=str(tmp_path), force_download=True
        )
        assert mentions(line, "FileNotFoundError", "'user/clip'", "force_download=True", "HF_HUB_OFFLINE")

    def test_unreachable_hub(self, hub, unreachable_client, tmp_path):
        cache = {"cache_dir": str(tmp_path / "cache")}
        line = error_line(unreachable_client, "find_file", "user/clip", "config.json", **cache)
        assert mentions(line, "FileNotFoundError", "'user/clip'", "cache")
        assert not mentions(line, "HF_HUB_OFFLINE")
        line = error_line(unreachable_client, "list_files", "user/clip", **cache)
        assert mentions(line, "FileNotFoundError", "'user/clip'")
        line = error_line(unreachable_client, "find_file", "user/clip", "config.json", force_download=True, **cache)
        assert mentions(line, "FileNotFoundError", "'user/clip'", "force_download=True")
        assert not mentions(line, "HF_HUB_OFFLINE")
        line = error_line(unreachable_client, "upload_folder", str(tmp_path), "user/clip", token=TOKEN)
        assert mentions(line, "OSError", "'user/clip'", "upload")
        path = hub("find_file", "user/clip", "config.json")
        assert unreachable_client("find_file", "user/clip", "config.json", **cache) == path
        line = error_line(unreachable_client, "require_file", "user/clip", "vocab.json", **cache)
        assert mentions(line, "FileNotFoundError", "vocab.json", "user/clip", "cache")


class TestUpload:
    def test_new_repository(self, client, server, folder):
        (folder / ".saving-left-behind").mkdir()
        (folder / ".saving-left-behind" / "half.bin").touch()
        texts = {"commit_message": "First", "commit_description": "Of several"}
        url = client("upload_folder", str(folder), "someone/new", token=TOKEN, private=True, **texts)
        assert url.startswith(f"{server.url}/someone/new/commit/")
        assert "someone/new" in server.private
        assert server.repositories["someone/new"]["main"].keys() == set(list_files(folder)) - {
            ".saving-left-behind/half.bin"
        }
        (commit,) = server.commits
        assert (commit["summary"], commit["description"]) == ("First", "Of several")
        assert (commit["repo_id"], commit["revision"], commit["pull_request"]) == ("someone/new", "main", False)

    def test_branch_of_an_existing_repository(self, client, server, folder):
        client("upload_folder", str(folder), "user/clip", token=TOKEN, revision="next")
        assert "model.safetensors" in server.repositories["user/clip"]["next"]
        assert "model.safetensors" not in server.repositories["user/clip"]["main"]

    def test_pull_request(self, client, server, folder):
        client("upload_folder", str(folder), "user/clip", token=TOKEN, create_pr=True)
        assert server.commits[0]["pull_request"]

    def test_without_a_token(self, client, folder):
        line = error_line(client, "upload_folder", str(folder), "user/clip")
        assert mentions(line, "OSError", "'user/clip'", "upload", 401)
