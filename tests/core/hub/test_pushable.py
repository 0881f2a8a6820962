"""The keywords of uploads: each is passed on, asks for nothing, or is refused by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from clip_core.hub.pushable import Pushable, upload_saved
from support.messages import naming

EVERY = {
    "token": "t",
    "commit_message": "New",
    "commit_description": "Of several",
    "private": True,
    "revision": "next",
    "create_pr": True,
}
EMPTY = {"tags": None, "organization": None, "repo_name": None, "repo_path_or_name": None, "repo_url": None}


class Saved(Pushable):
    def save_pretrained(self, folder):
        (Path(folder) / "it.json").touch()


@pytest.fixture
def uploads(monkeypatch):
    found = []

    def upload(folder, repo_id, **options):
        found.append(([path.name for path in Path(folder).iterdir()], repo_id, options))
        return "address"

    monkeypatch.setattr("clip_core.hub.pushable.upload_folder", upload)
    return found


def test_every_keyword_of_an_upload_is_passed_on(uploads, tmp_path):
    assert Saved().push_to_hub("me/it", **EVERY) == upload_saved(tmp_path, repo_id="me/it", **EVERY) == "address"
    assert uploads == [(["it.json"], "me/it", EVERY), ([], "me/it", EVERY)]


def test_the_old_name_of_the_token_counts(uploads, tmp_path):
    old = {"use_auth_token": "t"}
    Saved().push_to_hub("me/it", **old)
    upload_saved(tmp_path, **old)
    assert [options for *_, options in uploads] == [{"token": "t"}] * 2
    with pytest.raises(ValueError, match=naming("use_auth_token")):
        Saved().push_to_hub("me/it", **old | {"token": "another"})


@pytest.mark.parametrize("keep", [None, True])
def test_what_asks_for_nothing_is_dropped(uploads, keep):
    Saved().push_to_hub(
        "me/it", use_temp_dir=keep, use_auth_token=None, max_shard_size="5GB", safe_serialization=True, **EMPTY
    )
    assert uploads == [(["it.json"], "me/it", {})]


@pytest.mark.parametrize(
    ("keyword", "value", "instead"),
    [
        ("tags", ["vision"], "README.md"),
        ("organization", "us", "organization/name"),
        ("repo_path_or_name", "it", "repo_id"),
        ("use_temp_dir", False, "save_pretrained"),
        ("tokens", "t", "push_to_hub"),
    ],
)
def test_anything_else_is_refused_before_the_upload(uploads, keyword, value, instead):
    with pytest.raises(TypeError, match=naming(keyword, instead)):
        Saved().push_to_hub("me/it", **{keyword: value})
    assert uploads == []
