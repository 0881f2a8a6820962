from __future__ import annotations

from pathlib import Path

import pytest

from clip_core.data import open_pairs
from clip_core.evaluation.labelled import open_labelled
from clip_core.hub import find_file
from clip_core.hub.targets import expanded
from clip_core.images.inputs import find_images
from clip_core.tasks.embedding.pieces import find_files
from clip_core.tasks.search.identity import stored_source
from converters.checkpoint import open_checkpoint
from support.messages import naming

UNKNOWN = "~nobody-of-this-name/photos"


def test_a_home_folder_is_that_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert expanded("~/photos") == tmp_path / "photos"
    assert expanded(Path("photos/~")) == Path("photos/~")


@pytest.mark.parametrize("read", [open_pairs, open_labelled, find_images, find_files, open_checkpoint])
def test_the_home_folder_of_an_unknown_user_is_a_path_like_any_other(read):
    with pytest.raises((ValueError, FileNotFoundError), match=naming(UNKNOWN)):
        read(UNKNOWN)


def test_a_name_that_starts_with_a_tilde_may_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(UNKNOWN).mkdir(parents=True)
    (Path(UNKNOWN) / "config.json").write_text("{}")
    assert find_file(UNKNOWN, "config.json") == Path(UNKNOWN) / "config.json"
    assert stored_source(UNKNOWN) == str(tmp_path / UNKNOWN)
